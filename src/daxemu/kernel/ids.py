"""Numbers: the ida, device numbers, and the table of character devices."""

from __future__ import annotations

import errno
import heapq
from typing import NamedTuple

from daxemu.errors import KernelError

__all__ = ["MINORMASK", "NR_DAX_MIN", "CharDevices", "Devt", "Ida"]

MINORMASK = (1 << 20) - 1
NR_DAX_MIN = 256


class Devt(NamedTuple):
    """A device number. ``int(devt)`` is the kernel's own encoding, 12 bits major, 20 bits minor."""

    major: int
    minor: int

    def __int__(self) -> int:
        return self.major << 20 | self.minor

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"


class Ida:
    """Hands out the lowest free number from 0 to ``limit - 1``."""

    def __init__(self, limit: int, what: str) -> None:
        self.limit = limit
        self._what = what
        self._next = 0
        self._freed: list[int] = []
        self._used: set[int] = set()

    def alloc(self) -> int:
        """Return the lowest free number. Raises ENOSPC when none is left."""
        if self._freed:
            number = heapq.heappop(self._freed)
        elif self._next < self.limit:
            number = self._next
            self._next += 1
        else:
            raise KernelError(errno.ENOSPC, f"all {self.limit} {self._what} are in use")
        self._used.add(number)
        return number

    def take(self, number: int) -> int:
        """Take this very number. Raises EBUSY if somebody has it."""
        if number in self._used:
            raise KernelError(errno.EBUSY, f"number {number} of the {self._what} is in use")
        while self._next <= number:
            heapq.heappush(self._freed, self._next)
            self._next += 1
        self._freed.remove(number)
        heapq.heapify(self._freed)
        self._used.add(number)
        return number

    def free(self, number: int) -> None:
        """Give a number back."""
        self._used.remove(number)
        heapq.heappush(self._freed, number)

    def __len__(self) -> int:
        return len(self._used)

    def __contains__(self, number: object) -> bool:
        return number in self._used


class CharDevices:
    """The kernel's map from device numbers to character devices (``register_chrdev_region``, ``cdev_add``)."""

    def __init__(self) -> None:
        self._regions: dict[int, tuple[str, int]] = {}
        self._cdevs: dict[Devt, object] = {}

    def register_region(self, major: int, count: int, name: str) -> None:
        """Reserve minors 0 … count-1 of a major. EBUSY: the major is taken. EINVAL: no major has that many."""
        if count > MINORMASK + 1:
            raise KernelError(errno.EINVAL, f"a major has {MINORMASK + 1} minors, not {count}")
        if major in self._regions:
            raise KernelError(errno.EBUSY, f"character major {major} belongs to {self._regions[major][0]}")
        self._regions[major] = (name, count)

    def unregister_region(self, major: int) -> None:
        """Give the major back; its character devices must be gone."""
        left = [devt for devt in self._cdevs if devt.major == major]
        assert not left, f"character devices still registered: {left}"
        del self._regions[major]

    def add(self, devt: Devt, cdev: object) -> None:
        """Connect a number to a character device (cdev_add).

        Raises ENXIO for a number outside every registered region, EBUSY for one in use.
        """
        _, count = self._regions.get(devt.major, ("", 0))
        if devt.minor >= count:
            raise KernelError(errno.ENXIO, f"device number {devt} is in no registered region")
        if devt in self._cdevs:
            raise KernelError(errno.EBUSY, f"device number {devt} is in use")
        self._cdevs[devt] = cdev

    def remove(self, devt: Devt) -> None:
        """Disconnect a number (cdev_del): from now on an open of it finds nothing."""
        del self._cdevs[devt]

    def lookup(self, devt: Devt) -> object:
        """Return the character device behind a number. Raises ENXIO if there is none."""
        try:
            return self._cdevs[devt]
        except KeyError:
            raise KernelError(errno.ENXIO, f"no driver serves device number {devt}") from None
