"""The dax bus: its devices, its drivers, and what binding does."""

from __future__ import annotations

import errno
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.drivers import DeviceDax, Driver, Kmem
from daxemu.kernel.kmsg import KERN_ERR, KERN_WARNING
from daxemu.kernel.ports import Event
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.device import DevDax

__all__ = ["DAX_BUS_NAME", "DaxBus"]

DAX_BUS_NAME = "dax"


class DaxBus:
    """Bus ``dax``: who is on it, and which driver has whom."""

    name = DAX_BUS_NAME

    def __init__(self, core: DaxCore) -> None:
        self.core = core
        self.flavour = core.flavour
        self.devices: dict[str, DevDax] = {}
        self.drivers: dict[str, Driver] = {}
        self.autoprobe = True

    def kobject(self) -> Kobject:
        """The bus itself."""
        return Kobject(f"/bus/{self.name}", "bus", {})

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

    def match(self, driver: Driver, device: DevDax) -> bool:
        """Does this driver take this device? By its id, else by what kind of memory it is."""
        if device.name in driver.ids:
            return True
        if not self.flavour.match_by_type:
            return driver.name == DeviceDax.name
        wanted = Kmem.name if device.region.kmem else DeviceDax.name
        return driver.name == wanted

    def probe(self, device: DevDax) -> None:
        """Give an unbound device to the first driver that takes it; that none does is no error."""
        for driver in self.drivers.values():
            if device.driver is None and self.match(driver, device):
                self._try_to_bind(device, driver)

    def _try_to_bind(self, device: DevDax, driver: Driver) -> None:
        with suppress(KernelError):
            self.bind(device, driver.name)

    def add_id(self, driver: Driver, name: str) -> None:
        """Have a driver take a device by name; it gets every unbound device that it now matches."""
        driver.ids.add(name)
        for device in list(self.devices.values()):
            if device.driver is None and self.match(driver, device):
                self._try_to_bind(device, driver)

    def bind(self, device: DevDax, driver_name: str = DeviceDax.name) -> None:
        """Give a device to a driver and bring it alive.

        ENODEV: no such driver. EBUSY: already bound. ENXIO: the device has size 0. Else what probe raises.
        """
        if driver_name not in self.drivers:
            raise KernelError(
                errno.ENODEV,
                f"no driver {driver_name!r} on the dax bus; there are: {', '.join(self.drivers) or 'none'}",
            )
        if device.driver is not None:
            raise KernelError(errno.EBUSY, f"{device.name} is already bound to {device.driver.name}")
        if device.size == 0:
            raise KernelError(errno.ENXIO, f"{device.name} has size 0")
        driver = self.drivers[driver_name]
        with ExitStack() as undo:
            device.driver = driver
            undo.callback(setattr, device, "driver", None)
            self._probe(driver, device)
            undo.callback(driver.undo_probe, device)
            undo.callback(setattr, device, "driver", None)  # before that: onlookers are told by undo_probe
            if driver.maps:
                device.run()
            if device.region.seed is device:
                device.region.seed = None
                undo.callback(setattr, device.region, "seed", device)
            device.core.publish(Event("bind", device))
            undo.pop_all()
        self.core.uevent("bind", device)

    def _probe(self, driver: Driver, device: DevDax) -> None:
        """Have a driver take a device; that it refuses is logged, unless it says that there is none."""
        try:
            driver.probe(device)
        except KernelError as error:
            if error.errno not in (errno.ENODEV, errno.ENXIO):
                if self.flavour.probe_failure_is_error:
                    device.log(KERN_ERR, f"probe with driver {driver.name} failed with error -{error.errno}")
                else:
                    text = f"{driver.name}: probe of {device.name} failed with error -{error.errno}"
                    self.core.log(KERN_WARNING, text)
            raise

    def unbind(self, device: DevDax) -> None:
        """Take a device from its driver; every mapping of it is revoked. ENODEV if it has none."""
        if device.driver is None:
            raise KernelError(errno.ENODEV, f"{device.name} is not bound")
        try:
            device.driver.remove(device)
        finally:
            device.driver = None
            try:
                device.core.publish(Event("unbind", device))
            finally:
                self.core.uevent("unbind", device)
