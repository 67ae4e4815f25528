"""Faults to order: attributes that cannot be written, devices that do not open, revocations that come late."""

from __future__ import annotations

import errno as _errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, get_args

from daxemu.errors import KernelError, UsageError
from daxemu.plugins import hooks

__all__ = ["Fault", "Faults", "Point"]

Point = Literal["store", "open", "zap"]
_POINTS: tuple[str, ...] = get_args(Point)


class Fault:
    """A rule of ``Engine.faults``: when it is met, and what happens then. A context manager that removes it.

    ``hits`` is how often it has struck.
    """

    def __init__(
        self,
        faults: Faults,
        number: int,
        point: Point,
        path: str,
        errno: int,
        delay: float,
        after: int,
        times: int | None,
    ) -> None:
        self._faults = faults
        self.id = number
        self.point = point
        self.path = path
        self.errno = errno
        self.delay = delay
        self.after = after
        self.times = times
        self.hits = 0
        self._met = 0

    def __repr__(self) -> str:
        return f"<Fault {self.id} {self.point} {self.path} {self.describe()}>"

    def describe(self) -> str:
        """What it does, on one line: ``ENOSPC, after 2, 1 time``."""
        effects = [_errno.errorcode.get(self.errno, str(self.errno))] if self.errno else []
        effects += [f"{self.delay:g} s late"] if self.delay else []
        when = [f"after {self.after}"] if self.after else []
        when += [f"{self.times} time{'s' if self.times != 1 else ''}"] if self.times is not None else []
        return ", ".join([" ".join(effects), *when])

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Let it be met no more. Removing it twice is no error."""
        self._faults._remove(self)

    def _matches(self, point: str, path: str) -> bool:
        from fnmatch import fnmatchcase

        return point == self.point and fnmatchcase(path if "/" in self.path else path.rpartition("/")[2], self.path)

    def _strikes(self) -> bool:
        """Count one more time that it is met."""
        self._met += 1
        if self._met <= self.after or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


class Faults:
    """The faults of an engine, in the order they were added; the first that strikes decides. Iterable."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._lock = threading.Lock()  # opens are decided without the engine's lock
        self._faults: list[Fault] = []
        self._last_id = 0

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._faults))

    def __len__(self) -> int:
        return len(self._faults)

    def add(
        self,
        point: Point,
        path: str = "*",
        *,
        errno: int | str = 0,
        delay: float = 0,
        after: int = 0,
        times: int | None = None,
    ) -> Fault:
        """Make something fail, or take long, from now on.

        ``point``: ``store``, a write of an attribute; ``open``, an open of a device by a program or by
        ``DaxDevice.open``; ``zap``, the revocation of a device's mappings, between the moment that
        the device is dead to newcomers and the moment that those who map it lose it. ``path``: a
        pattern for the attribute, or for the device's ``/dev/daxX.Y``; ``*`` is anything, and a
        pattern without ``/`` is for the last name alone. ``errno``, a number or a name, is the
        answer, without anything done; a revocation cannot fail. ``delay``: seconds to wait before.
        The first ``after`` occasions go well; then ``times`` of them are met, by default all.
        UsageError: no such point or errno, or a fault that does nothing.
        """
        number = _number(errno)
        if not isinstance(path, str):
            raise UsageError(f"path {path!r}: give a pattern such as '*/dax0.0/size'")
        if point not in _POINTS:
            raise UsageError(f"fault point {point!r}: there are {', '.join(_POINTS)}")
        if point == "zap" and number:
            raise UsageError("a revocation cannot fail, it can only be late: give a delay")
        if not number and not delay:
            raise UsageError(f"a fault at {point!r} that does nothing: give an errno such as 'EIO', or a delay")
        if delay < 0 or after < 0 or (times is not None and times < 1):
            raise UsageError("a fault's delay and after are not negative, and it strikes at least once")
        with self._lock:
            self._last_id += 1
            fault = Fault(
                self, self._last_id, point=point, path=path, errno=number, delay=delay, after=after, times=times
            )
            self._faults.append(fault)
        self._changed()
        return fault

    def clear(self) -> None:
        """Remove all."""
        with self._lock:
            self._faults.clear()
        self._changed()

    def _remove(self, fault: Fault) -> None:
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)
        self._changed()

    def _has(self, point: Point) -> bool:
        """May anything be met there?"""
        relay = hooks()
        return any(fault.point == point for fault in self._faults) or (
            relay is not None and bool(relay.daxemu_fault.get_hookimpls())
        )

    def _meet(self, point: Point, path: str) -> None:
        """Pass a point: wait and raise KernelError as the faults and the plugins want it."""
        relay = hooks()
        if not self._faults and relay is None:
            return
        with self._lock:
            struck = next((f for f in self._faults if f._matches(point, path) and f._strikes()), None)
        number, why = (struck.errno, f"fault {struck.id}") if struck else (0, "")
        if struck and struck.delay:
            time.sleep(struck.delay)
        if not number and relay is not None:
            number, why = relay.daxemu_fault(point=point, path=path) or 0, "a plugin's fault"
        if number and point != "zap":
            raise KernelError(number, f"{path}: {os.strerror(number)}, by {why}")


def _number(errno: int | str) -> int:
    """The number of an errno given as ``EIO`` or ``5``. UsageError: there is none."""
    if isinstance(errno, str):
        value = getattr(_errno, errno, None) if errno[:1] == "E" else None
        number = int(errno) if errno.isdigit() else value if isinstance(value, int) else -1
    else:
        number = errno
    if number != 0 and number not in _errno.errorcode:
        raise UsageError(f"errno {errno!r}: give a name such as 'ENOSPC', or its number")
    return number
