"""The dax bus: its devices, its drivers, and what binding does."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.ports import Event

if TYPE_CHECKING:
    from daxemu.kernel.device import DevDax

__all__ = ["DAX_BUS_NAME", "DaxBus", "DeviceDax", "Driver"]

DAX_BUS_NAME = "dax"


class Driver:
    """A driver on the dax bus. Names are the kernel modules' names."""

    name: str

    def probe(self, device: DevDax) -> None:
        """Take a device over; raising leaves it unbound."""
        raise NotImplementedError

    def remove(self, device: DevDax) -> None:
        """Let a device go."""
        raise NotImplementedError


class DeviceDax(Driver):
    """device_dax: the character device that programs map."""

    name = "device_dax"

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


class DaxBus:
    """Bus ``dax``: who is on it, and which driver has whom."""

    name = DAX_BUS_NAME

    def __init__(self) -> None:
        self.devices: dict[str, DevDax] = {}
        self.drivers: dict[str, Driver] = {}

    def register_driver(self, driver: Driver) -> None:
        """Make a driver known (dax_driver_register)."""
        self.drivers[driver.name] = driver

    def unregister_driver(self, driver: Driver) -> None:
        """Unbind its devices, then forget the driver."""
        with ExitStack() as steps:
            steps.callback(self.drivers.pop, driver.name)
            for device in self.devices.values():
                if device.driver is driver:
                    steps.callback(self.unbind, device)

    def bind(self, device: DevDax, driver_name: str = DeviceDax.name) -> None:
        """Give a device to a driver and bring it alive.

        ENODEV: no such driver. EBUSY: already bound. ENXIO: the device has size 0. Else what probe raises.
        """
        if driver_name not in self.drivers:
            raise KernelError(errno.ENODEV, f"no driver {driver_name} on the dax bus")
        if device.driver is not None:
            raise KernelError(errno.EBUSY, f"{device.name} is already bound to {device.driver.name}")
        if device.size == 0:
            raise KernelError(errno.ENXIO, f"{device.name} has size 0")
        driver = self.drivers[driver_name]
        with ExitStack() as undo:
            driver.probe(device)
            undo.callback(driver.remove, device)
            device.driver = driver
            undo.callback(setattr, device, "driver", None)
            device.run()
            device.core.publish(Event("bind", device))
            undo.pop_all()

    def unbind(self, device: DevDax) -> None:
        """Take a device from its driver; every mapping of it is revoked. ENODEV if it has none."""
        if device.driver is None:
            raise KernelError(errno.ENODEV, f"{device.name} is not bound")
        try:
            device.driver.remove(device)
        finally:
            device.driver = None
            device.core.publish(Event("unbind", device))
