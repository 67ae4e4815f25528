"""The drivers of the dax bus."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.bus import DaxBus
    from daxemu.kernel.device import DevDax

__all__ = ["DRIVERS", "DeviceDax", "Driver", "Kmem"]

MEMORY_BLOCK_SIZE = 128 << 20


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
        """Register the character device. Raises EINVAL for a static device of several ranges."""
        if device.region.is_static and len(device.ranges) > 1:
            raise KernelError(errno.EINVAL, f"{device.name}: static pgmap / multi-range device conflict")
        device.core.chrdevs.add(device.devt, device)

    def remove(self, device: DevDax) -> None:
        """Revoke everything, then unregister; nodes forget the device."""
        try:
            device.kill()
        finally:
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
