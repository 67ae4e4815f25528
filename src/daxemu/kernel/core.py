"""Boot, shut-down, and the making and unmaking of regions and devices, each step undone if a later one fails."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from daxemu.errors import KernelError
from daxemu.kernel.bus import DaxBus, DeviceDax
from daxemu.kernel.device import DevDax
from daxemu.kernel.ids import MINORMASK, NR_DAX_MIN, CharDevices, Devt, Ida
from daxemu.kernel.ports import Event, Ports
from daxemu.kernel.providers import Provider
from daxemu.kernel.pseudofs import DaxSuperBlock
from daxemu.kernel.region import SUBSECTION_SIZE, DaxRegion

__all__ = ["DaxCore"]


class DaxCore:
    """The dax subsystem of one emulated machine.

    ``nr_dax`` is how many device numbers are registered, at least 256; ``major`` their major.
    """

    super_block: DaxSuperBlock
    bus: DaxBus

    def __init__(self, ports: Ports, *, major: int = 252, nr_dax: int = MINORMASK + 1) -> None:
        self.ports = ports
        self.major = major
        self.nr_dax = max(nr_dax, NR_DAX_MIN)
        self.chrdevs = CharDevices()
        self.minor_ida = Ida(self.nr_dax, "dax device numbers")
        self.region_ida = Ida(MINORMASK + 1, "dax regions")
        self.regions: dict[int, DaxRegion] = {}
        self._running = ExitStack()

    def publish(self, event: Event) -> None:
        """Hand an event to the outside."""
        self.ports.publish(event)

    # -- boot and shut-down -------------------------------------------------------------------

    def boot(self) -> None:
        """Mount the pseudo fs, register the numbers, the bus and its driver; in this order, or not at all."""
        with ExitStack() as undo:
            self.super_block = self._mount()
            undo.callback(self.super_block.unmount)
            self._register_numbers()
            undo.callback(self.chrdevs.unregister_region, self.major)
            self.bus = self._register_bus()
            driver = DeviceDax()
            self.bus.register_driver(driver)
            undo.callback(self.bus.unregister_driver, driver)
            self._running = undo.pop_all()

    def _mount(self) -> DaxSuperBlock:
        return DaxSuperBlock()

    def _register_numbers(self) -> None:
        self.chrdevs.register_region(self.major, self.nr_dax, "dax")

    def _register_bus(self) -> DaxBus:
        return DaxBus()

    def shutdown(self) -> None:
        """Remove every region, then undo boot in reverse."""
        for region in list(self.regions.values()):
            self.remove_region(region)
        self._running.close()

    # -- regions ------------------------------------------------------------------------------

    def add_region(
        self, provider: Provider, *, start: int, size: int, align: int, target_node: int = 0, idle: bool = False
    ) -> DaxRegion:
        """Register a region with its first device: of full size and bound, or empty if ``idle``.

        EINVAL, ENOMEM: as in ``DaxRegion``; EINVAL too for an idle static region.
        """
        if idle and provider.static:
            raise KernelError(errno.EINVAL, f"a {provider.name} region is static: it always has its device")
        with ExitStack() as undo:
            region_id = self.region_ida.alloc()
            undo.callback(self.region_ida.free, region_id)
            region = DaxRegion(
                region_id, provider, start=start, size=size, align=align, target_node=target_node
            )
            self.regions[region_id] = region
            undo.callback(self.regions.pop, region_id)
            self.publish(Event("add", region))
            region.published = True
            undo.callback(self._unpublish_region, region)
            self.create_device(region, 0 if idle else size, bind=not idle)
            undo.pop_all()
        return region

    def _unpublish_region(self, region: DaxRegion) -> None:
        region.published = False
        self.publish(Event("remove", region))

    def remove_region(self, region: DaxRegion) -> None:
        """Unregister a region with all its devices; open files keep what they hold."""
        for device in list(region.children.values()):
            self.remove_device(device)
        self._unpublish_region(region)
        del self.regions[region.id]
        self.region_ida.free(region.id)
        region.put()

    # -- devices ------------------------------------------------------------------------------

    def create_device(self, region: DaxRegion, size: int, *, bind: bool = True) -> DevDax:
        """Make a device of ``size`` bytes: id, minor, inode, ranges, memory, then its place on the bus.

        EINVAL: size not a multiple of max(align, 2 MiB), or a second device of a static region.
        ENOSPC: region full, or no device number left. Any later failure undoes the steps before it.
        """
        unit = region.align if region.is_static else max(region.align, SUBSECTION_SIZE)
        if size % unit:
            raise KernelError(errno.EINVAL, f"size {size} is not a multiple of {unit}")
        if region.is_static and region.children:
            raise KernelError(errno.EINVAL, f"region {region.id} is static: it has its one device")
        if size > region.available_size():
            raise KernelError(errno.ENOSPC, f"region {region.id} has only {region.available_size()} bytes left")
        with ExitStack() as undo:
            device = DevDax(self, region, region.ida.alloc())
            undo.callback(region.ida.free, device.id)
            device.devt = Devt(self.major, self.minor_ida.alloc())
            undo.callback(self.minor_ida.free, device.devt.minor)
            device.inode = self.super_block.iget(device.devt)
            undo.callback(self.super_block.iput, device.inode)
            region.get()
            undo.callback(region.put)
            device.grow_ranges(size)
            undo.callback(device.shrink_ranges, 0)
            device.backing = self.ports.create_backing(device)
            undo.callback(device.backing.close)
            self._device_add(device)
            undo.callback(self._device_del, device)
            if bind:
                self.bus.bind(device)
            undo.pop_all()
        return device

    def _device_add(self, device: DevDax) -> None:
        with ExitStack() as undo:
            self.bus.devices[device.name] = device
            undo.callback(self.bus.devices.pop, device.name)
            device.region.children[device.name] = device
            undo.callback(device.region.children.pop, device.name)
            device.registered = True
            undo.callback(setattr, device, "registered", False)
            self.publish(Event("add", device))
            undo.pop_all()

    def _device_del(self, device: DevDax) -> None:
        device.registered = False
        self.publish(Event("remove", device))
        del device.region.children[device.name]
        del self.bus.devices[device.name]

    def remove_device(self, device: DevDax) -> None:
        """Unregister a device: unbind, leave the bus, free its ranges; the rest waits for the last reference."""
        if device.driver is not None:
            self.bus.unbind(device)
        self._device_del(device)
        device.shrink_ranges(0)
        device.put()

    def release_device(self, device: DevDax) -> None:
        """The last reference is gone: memory, inode, minor and id go back."""
        device.backing.close()
        self.super_block.iput(device.inode)
        self.super_block.rcu_barrier()
        self.minor_ida.free(device.devt.minor)
        device.region.ida.free(device.id)
        device.region.put()

    def delete_device(self, device: DevDax) -> None:
        """What writing a name to ``delete`` does.

        EBUSY: bound, size not 0, or id 0 (the first device of a region is immortal).
        """
        if device.driver is not None or device.size:
            raise KernelError(errno.EBUSY, f"{device.name} is bound or not empty")
        if device.id == 0:
            raise KernelError(errno.EBUSY, f"{device.name} is the region's first device and stays")
        self.remove_device(device)
