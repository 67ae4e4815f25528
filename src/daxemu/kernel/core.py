"""Boot, shut-down, and the making and unmaking of regions and devices, each step undone if a later one fails."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.bus import DaxBus
from daxemu.kernel.device import DevDax
from daxemu.kernel.drivers import DRIVERS
from daxemu.kernel.flavour import DEFAULT_FLAVOUR, Flavour
from daxemu.kernel.ids import MINORMASK, NR_DAX_MIN, CharDevices, Devt, Ida
from daxemu.kernel.kmsg import KERN_ERR, KERN_WARNING
from daxemu.kernel.memory import Memory
from daxemu.kernel.ports import Event, Ports
from daxemu.kernel.providers import Provider
from daxemu.kernel.pseudofs import DaxSuperBlock
from daxemu.kernel.region import SUBSECTION_SIZE, DaxRegion
from daxemu.kernel.uevent import HasKobject, Uevent, parse_synthetic

if TYPE_CHECKING:
    from daxemu.kernel.nvdimm.bus import NvdimmBus
    from daxemu.kernel.nvdimm.claim import DaxClaim

__all__ = ["DEVICE_DAX", "DaxCore"]

DEVICE_DAX = "device_dax"


class DaxCore:
    """The dax subsystem of one emulated machine.

    ``nr_dax`` is how many device numbers are registered, at least 256; ``major`` their major;
    ``drivers`` which drivers are loaded.
    """

    super_block: DaxSuperBlock
    bus: DaxBus

    def __init__(
        self,
        ports: Ports,
        *,
        major: int = 252,
        nr_dax: int = MINORMASK + 1,
        flavour: Flavour = DEFAULT_FLAVOUR,
        drivers: Sequence[str] = tuple(DRIVERS),
    ) -> None:
        self.ports = ports
        self.major = major
        self.flavour = flavour
        self.driver_names = tuple(drivers)
        self.nr_dax = max(nr_dax, NR_DAX_MIN)
        self.chrdevs = CharDevices()
        self.minor_ida = Ida(self.nr_dax, "dax device numbers")
        self.region_ida = Ida(MINORMASK + 1, "dax regions")
        self.regions: dict[int, DaxRegion] = {}
        self.region_idle = False  # dax_hmem's parameter: regions begin without memory, and are not for kmem
        self.reserved: list[tuple[int, int]] = []
        self.memory = Memory(self)
        self.nvdimm: NvdimmBus | None = None  # where pmem regions hang, once there is one
        self._uevent_seqnum = 0
        self._running = ExitStack()

    def is_reserved(self, start: int, end: int) -> bool:
        """Is some of [start, end] kept by a driver that did not give it back (``reserved``: first and last bytes)?"""
        return any(first <= end and start <= last for first, last in self.reserved)

    # -- what the outside is told -----------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Hand an event to the outside."""
        self.ports.publish(event)

    def log(self, level: int, text: str) -> None:
        """Add a line to the kernel's log (printk)."""
        self.ports.log(level, text)

    def uevent(self, action: str, subject: HasKobject, extra: Mapping[str, str] = MappingProxyType({})) -> None:
        """Send a uevent (kobject_uevent_env); ``extra`` comes before what the object says of itself."""
        kobject = subject.kobject()
        if kobject.subsystem:
            self._uevent_seqnum += 1
            self.ports.uevent(Uevent.about(action, kobject, self._uevent_seqnum, extra))

    def synthesize_uevent(self, subject: HasKobject, text: str) -> None:
        """What writing an object's ``uevent`` does (kobject_synth_uevent). EINVAL: as in ``parse_synthetic``."""
        try:
            action, extra = parse_synthetic(text)
        except KernelError as error:
            kobject = subject.kobject()
            self.log(KERN_WARNING, f"synth uevent: {kobject.devpath}: {error.strerror}")
            if kobject.log_name is not None:
                self.log(KERN_ERR, f"{kobject.log_name}: uevent: failed to send synthetic uevent: -{error.errno}")
            raise
        self.uevent(action, subject, extra)

    # -- boot and shut-down -------------------------------------------------------------------

    def boot(self) -> None:
        """Mount the pseudo fs, register the numbers, the bus and its driver; in this order, or not at all."""
        with ExitStack() as undo:
            super_block = self._mount()
            undo.callback(super_block.unmount)
            self._register_numbers()
            undo.callback(self.chrdevs.unregister_region, self.major)
            bus = self._register_bus()
            for name in self.driver_names:
                driver = DRIVERS[name](bus)
                bus.register_driver(driver)
                undo.callback(bus.unregister_driver, driver)
            self.super_block, self.bus = super_block, bus
            self._running = undo.pop_all()

    def _mount(self) -> DaxSuperBlock:
        return DaxSuperBlock()

    def _register_numbers(self) -> None:
        self.chrdevs.register_region(self.major, self.nr_dax, "dax")

    def _register_bus(self) -> DaxBus:
        return DaxBus(self)

    def shutdown(self) -> None:
        """Remove every region, then undo boot in reverse."""
        with self._running, ExitStack() as steps:
            for region in self.regions.values():  # the youngest goes first
                if region.claim is None:
                    steps.callback(self.remove_region, region)
            if self.nvdimm is not None:
                steps.callback(self.nvdimm.shutdown)

    # -- regions ------------------------------------------------------------------------------

    def add_region(
        self,
        provider: Provider,
        *,
        start: int,
        size: int,
        align: int,
        target_node: int = 0,
        numa_node: int = 0,
        idle: bool = False,
        driver: str = DEVICE_DAX,
        claim: DaxClaim | None = None,
    ) -> DaxRegion:
        """Register a region with its first device: of full size and bound to ``driver``, or empty if ``idle``.

        ``driver`` may be ``none``, or ``auto``: what the kernel does by itself. With ``claim`` the region
        is made of a claimed namespace and has the number of that namespace's region.

        EINVAL, ENOMEM: as in ``DaxRegion``; EINVAL too for an idle static region.
        """
        kmem = provider.kmem
        if self.region_idle and "region_idle" in provider.parameters:
            idle, kmem = True, False
        if idle and provider.static:
            raise KernelError(errno.EINVAL, f"a {provider.name} region is static: it always has its device")
        with ExitStack() as undo:
            region_id = self._region_id(claim, undo)
            region = DaxRegion(
                self,
                region_id,
                provider,
                start=start,
                size=size,
                align=align,
                target_node=target_node,
                numa_node=numa_node,
                kmem=kmem,
                claim=claim,
            )
            undo.callback(self._unpublish_region, region)
            self.regions[region_id] = region
            if claim is None:
                self.uevent("add", region)
            region.published = True
            self.publish(Event("add", region))
            size, driver = (0, "none") if idle else (size, driver)
            self.create_device(region, size, driver=driver, memmap_on_memory=provider.memmap_on_memory)
            if claim is None:
                self.uevent("bind", region)
            undo.pop_all()
        return region

    def _region_id(self, claim: DaxClaim | None, undo: ExitStack) -> int:
        if claim is not None:
            return claim.region.id
        region_id = self.region_ida.alloc()
        undo.callback(self.region_ida.free, region_id)
        return region_id

    def _unpublish_region(self, region: DaxRegion) -> None:
        region.published = False
        del self.regions[region.id]
        with ExitStack() as steps:
            if region.claim is None:
                steps.callback(self.uevent, "remove", region)
            steps.callback(self.publish, Event("remove", region))

    def _unbind_region(self, region: DaxRegion) -> None:
        region.published = False
        if region.claim is None:
            self.uevent("unbind", region)

    def remove_region(self, region: DaxRegion) -> None:
        """Unregister a region with all its devices; open files keep what they hold. ENODEV: it was removed before."""
        if not region.published:
            raise KernelError(errno.ENODEV, f"region {region.id} was removed")
        with ExitStack() as steps:
            steps.callback(region.put)
            if region.claim is None:
                steps.callback(self.region_ida.free, region.id)
            steps.callback(self._unpublish_region, region)
            steps.callback(self._unbind_region, region)
            for device in region.children.values():  # the youngest goes first
                steps.callback(self.remove_device, device)

    # -- devices ------------------------------------------------------------------------------

    def create_device(
        self,
        region: DaxRegion,
        size: int,
        *,
        driver: str = DEVICE_DAX,
        memmap_on_memory: bool = False,
        number: int | None = None,
    ) -> DevDax:
        """Make a device of ``size`` bytes: id, minor, inode, ranges, memory, then its place on the bus.

        ``number`` is the id it must get, by default the lowest that is free.

        ENXIO: the region was removed. EINVAL: size not a multiple of max(align, 2 MiB), or a second
        device of a static region. ENOSPC: region full, or no device number left. Any later failure
        undoes the steps before it.
        """
        if not region.published:
            raise KernelError(errno.ENXIO, f"region {region.id} was removed")
        unit = region.align if region.is_static else max(region.align, SUBSECTION_SIZE)
        if size < 0 or size % unit:
            raise KernelError(errno.EINVAL, f"size {size} is not a multiple of {unit}")
        if region.is_static and region.children:
            raise KernelError(errno.EINVAL, f"region {region.id} is static: it has its one device")
        if size > region.available_size():
            raise KernelError(errno.ENOSPC, f"region {region.id} has only {region.available_size()} bytes left")
        device = self._initialize_device(region, size, number)
        device.memmap_on_memory = memmap_on_memory
        with ExitStack() as undo:
            undo.callback(device.put)
            undo.callback(self._free_ranges, device)
            self._device_add(device)
            undo.callback(self._device_del, device)
            self.uevent("add", device)
            undo.callback(self.uevent, "remove", device)
            self.hand_over(device, driver)
            undo.pop_all()
        return device

    def hand_over(self, device: DevDax, driver: str) -> None:
        """Bind a device to a driver that from now on takes it by name; to ``none``, or by ``auto``."""
        if driver == "auto" and self.bus.autoprobe:
            self.bus.probe(device)
        elif driver not in ("auto", "none"):
            self.bus.bind(device, driver)
            self.bus.drivers[driver].ids.add(device.name)

    def create_seed(self, region: DaxRegion) -> DevDax:
        """What writing 1 to ``create`` does: an empty device, the region's youngest, its seed if it has none.

        ENOSPC: the region is full.
        """
        if region.available_size() == 0:
            raise KernelError(errno.ENOSPC, f"region {region.id} has no space left")
        device = self.create_device(region, 0, driver="auto")
        region.youngest = device
        region.seed = region.seed or device
        self.publish(Event("change", region))
        return device

    def _initialize_device(self, region: DaxRegion, size: int, number: int | None = None) -> DevDax:
        """Everything a device owns; from here on it is its last reference that gives this back."""
        with ExitStack() as undo:
            device_id = region.ida.alloc() if number is None else region.ida.take(number)
            undo.callback(region.ida.free, device_id)
            device = DevDax(self, region, device_id)
            device.devt = Devt(self.major, self.minor_ida.alloc())
            undo.callback(self.minor_ida.free, device.devt.minor)
            device.inode = self.super_block.iget(device.devt)
            undo.callback(self._drop_inode, device)
            region.get()
            undo.callback(region.put)
            device.grow_ranges(size)
            undo.callback(device.shrink_ranges, 0)
            device.backing = self.ports.create_backing(device)
            undo.pop_all()
        return device

    def _drop_inode(self, device: DevDax) -> None:
        self.super_block.iput(device.inode)
        self.super_block.rcu_barrier()

    def _device_add(self, device: DevDax) -> None:
        with ExitStack() as undo:
            undo.callback(self._device_del, device)
            self.bus.devices[device.name] = device
            device.region.children[device.name] = device
            device.registered = True
            self.publish(Event("add", device))
            undo.pop_all()

    def _device_del(self, device: DevDax) -> None:
        device.registered = False
        del device.region.children[device.name]
        del self.bus.devices[device.name]
        self.publish(Event("remove", device))

    def remove_device(self, device: DevDax) -> None:
        """Unregister a device: unbind, leave the bus, free its ranges; the rest waits for the last reference.

        ENODEV: it was removed before.
        """
        if not device.registered:
            raise KernelError(errno.ENODEV, f"{device.name} was removed")
        with ExitStack() as steps:
            steps.callback(device.put)
            steps.callback(self._free_ranges, device)
            steps.callback(self.uevent, "remove", device)
            steps.callback(self._device_del, device)
            if device.driver is not None:
                steps.callback(self.bus.unbind, device)

    def _free_ranges(self, device: DevDax) -> None:
        with ExitStack() as steps:
            steps.callback(self.publish, Event("change", device.region))
            steps.callback(device.shrink_ranges, 0)
            steps.callback(device.backing.resize, 0)

    def release_device(self, device: DevDax) -> None:
        """The last reference is gone: memory, inode, minor and id go back."""
        with ExitStack() as steps:
            steps.callback(device.region.put)
            steps.callback(self._free_id, device)
            steps.callback(self.minor_ida.free, device.devt.minor)
            steps.callback(self._drop_inode, device)
            steps.callback(device.backing.close)

    @staticmethod
    def _free_id(device: DevDax) -> None:
        if device.id >= 0:
            device.region.ida.free(device.id)
            device.id = -1

    def delete_device(self, device: DevDax) -> None:
        """What writing a name to ``delete`` does; the id is free at once, even while the device is open.

        ENXIO: it was removed before. EBUSY: bound, size not 0, or id 0 (a region's first device is immortal).
        """
        if not device.registered:
            raise KernelError(errno.ENXIO, f"{device.name} was removed")
        if device.driver is not None or device.size:
            raise KernelError(errno.EBUSY, f"{device.name} is bound or not empty")
        if device.id == 0:
            raise KernelError(errno.EBUSY, f"{device.name} is the region's first device and stays")
        self._free_id(device)
        region = device.region
        region.seed = None if region.seed is device else region.seed
        region.youngest = None if region.youngest is device else region.youngest
        self.remove_device(device)
