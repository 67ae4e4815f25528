"""The drivers of the dax bus."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from daxemu.errors import KernelError
from daxemu.kernel.kmsg import KERN_WARNING
from daxemu.kernel.ranges import PAGE_SIZE
from daxemu.kernel.region import SUBSECTION_SIZE
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.bus import DaxBus
    from daxemu.kernel.device import DevDax

__all__ = ["DRIVERS", "DeviceDax", "Driver", "Kmem"]

MEMORY_BLOCK_SIZE = 128 << 20
_SUBSECTION_PAGES = SUBSECTION_SIZE // PAGE_SIZE


class Driver:
    """A driver on the dax bus. Names are the kernel modules' names.

    ``ids``: names of devices that it takes whatever their type (``new_id``). ``maps``: programs can map its devices.
    """

    name: str
    maps = False

    def __init__(self, bus: DaxBus) -> None:
        self.bus = bus
        self.core = bus.core
        self.ids: set[str] = set()

    def kobject(self) -> Kobject:
        """The driver itself."""
        return Kobject(f"/bus/{self.bus.name}/drivers/{self.name}", "drivers", {})

    def probe(self, device: DevDax) -> None:
        """Take a device over; raising leaves it unbound."""
        raise NotImplementedError

    def remove(self, device: DevDax) -> None:
        """Let a device go."""
        raise NotImplementedError


class DeviceDax(Driver):
    """device_dax: the character device that programs map."""

    name = "device_dax"
    maps = True

    def probe(self, device: DevDax) -> None:
        """Give the memory pages, then register the character device.

        EBUSY: a range is in use. EINVAL: a static device of several ranges; a dynamic one with a range
        that begins or ends inside a sub-section of 2 MiB, or that was refused before: it never will
        be taken again (a defect of the kernel's: the page map of the first time is still there).
        """
        if device.region.is_static:
            if len(device.ranges) > 1:
                self._refuse(device, errno.EINVAL, "static pgmap / multi-range device conflict")
        elif device.pgmap:
            self._refuse(device, errno.EINVAL, "dynamic-dax with pre-populated page map")
        device.pgmap = True
        for number, piece in enumerate(device.ranges):
            if device.core.is_reserved(piece):
                where = f"mapping{number}: {piece.start:#x}-{piece.end:#x}"
                self._refuse(device, errno.EBUSY, f"{where} could not reserve range")
        for piece in () if device.region.is_static else device.ranges:
            first = piece.start // PAGE_SIZE
            if first % _SUBSECTION_PAGES or piece.pages % _SUBSECTION_PAGES:
                text = f"Misaligned __add_pages start: {first:#x} end: {first + piece.pages - 1:#x}"
                device.core.log(KERN_WARNING, text)
                raise KernelError(errno.EINVAL, f"{device.name}: {piece!r} begins or ends inside a sub-section")
        try:
            device.core.chrdevs.add(device.devt, device)
        except BaseException:
            device.pgmap = False
            raise

    @staticmethod
    def _refuse(device: DevDax, number: int, reason: str) -> NoReturn:
        device.log(KERN_WARNING, reason)
        raise KernelError(number, f"{device.name}: {reason}")

    def remove(self, device: DevDax) -> None:
        """Revoke everything, then unregister; nodes forget the device."""
        try:
            device.kill()
        finally:
            device.pgmap = False
            device.core.chrdevs.remove(device.devt)
            for node in device.openers:
                node.cd_forget()
            device.openers.clear()


class Kmem(Driver):
    """kmem: the device becomes ordinary memory; programs can no longer open it."""

    name = "kmem"

    def probe(self, device: DevDax) -> None:
        """Raise EINVAL without a NUMA node, or if no range holds a whole memory block."""
        if device.region.target_node < 0:
            raise KernelError(errno.EINVAL, f"rejecting DAX region {device.name} with invalid node")
        blocks = sum(
            max((piece.end + 1) // MEMORY_BLOCK_SIZE - -(-piece.start // MEMORY_BLOCK_SIZE), 0)
            for piece in device.ranges
        )
        if blocks == 0:
            raise KernelError(errno.EINVAL, f"{device.name} holds no whole memory block of {MEMORY_BLOCK_SIZE} bytes")

    def remove(self, device: DevDax) -> None:
        """Nothing is held."""


DRIVERS: dict[str, type[Driver]] = {driver.name: driver for driver in (DeviceDax, Kmem)}
