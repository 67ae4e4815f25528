"""The nvdimm bus: modules, regions, namespaces and their claims; and what binding does."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from daxemu.errors import KernelError
from daxemu.kernel.ids import MINORMASK, Devt, Ida
from daxemu.kernel.nvdimm.claim import Claim
from daxemu.kernel.nvdimm.disk import Disk
from daxemu.kernel.nvdimm.drivers import DaxPmem, NdDriver, NdPmem, NdRegionDriver, NvdimmDriver
from daxemu.kernel.nvdimm.infoblock import INFO_OFFSET, InfoBlock, Layout, lay_out
from daxemu.kernel.nvdimm.region import Dimm, NdRegion
from daxemu.kernel.ports import Event
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.nvdimm.device import NdDevice
    from daxemu.kernel.nvdimm.namespace import Namespace

__all__ = ["BLOCK_MAJOR", "ControlDevice", "NvdimmBus"]

BLOCK_MAJOR = 259  # block devices with numbers handed out one by one


class ControlDevice(NamedTuple):
    """/dev/ndctl0, through which a bus takes commands."""

    bus: NvdimmBus
    devt: Devt
    name: str = "ndctl0"

    @property
    def core(self) -> DaxCore:
        """The subsystem."""
        return self.bus.core

    def kobject(self) -> Kobject:
        """What uevents say of it."""
        variables = {"MAJOR": str(self.devt.major), "MINOR": str(self.devt.minor), "DEVNAME": self.name}
        return Kobject(f"/{self.bus.home}/nd/ndctl0", "nd", variables, "nd ndctl0")


class NvdimmBus:
    """``ndbus0``, which all modules of a machine hang on, with its drivers.

    ``control_major`` and ``dimm_major`` are the character majors of /dev/ndctl0 and /dev/nmemN.
    """

    name = "ndbus0"
    home = "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0"

    def __init__(self, core: DaxCore, *, control_major: int, dimm_major: int) -> None:
        self.core = core
        self.control = ControlDevice(self, Devt(control_major, 0))
        self.dimm_major = dimm_major
        self.autoprobe = True
        self.regions: dict[int, NdRegion] = {}
        self.devices: dict[str, NdDevice] = {}
        self.drivers: dict[str, NdDriver] = {
            driver.name: driver(self) for driver in (NvdimmDriver, NdRegionDriver, NdPmem, DaxPmem)
        }
        self._dimm_ida = Ida(MINORMASK + 1, "nvdimms")
        self._disk_ida = Ida(MINORMASK + 1, "block devices")
        self._disks_made = 0
        self.scrubs = 0
        self.scrubbed = (0, 0)  # what the last scrub that was asked for went over

    def kobject(self) -> Kobject:
        """What uevents say of it."""
        return Kobject(f"/{self.home}", "nd", {"DRIVER": "nd_bus", "MODALIAS": "nd:t0"}, f"nd_bus {self.name}")

    # -- regions ------------------------------------------------------------------------------

    def add_region(
        self,
        *,
        start: int,
        raw: int,
        align: int | None = None,
        layout: Layout | None = None,
        target_node: int = 0,
        numa_node: int = 0,
        persistence: str = "memory_controller",
        driver: str = "auto",
    ) -> NdRegion:
        """Plug in a module of ``raw`` bytes at ``start``.

        With ``align`` its namespace comes in devdax mode, ready to use; ``layout`` divides it otherwise
        than the kernel would. Without, it is what its memory says, raw or devdax. ENXIO: too small for
        the alignment; then as ``DaxCore.add_region``.
        """
        if align is not None:
            layout = layout or lay_out(start, raw, align)
        with ExitStack() as undo:
            number = self.core.region_ida.alloc()
            undo.callback(self.core.region_ida.free, number)
            dimm = Dimm(self, self._dimm_ida.alloc())
            undo.callback(self._dimm_ida.free, dimm.number)
            region = NdRegion(
                self,
                number,
                dimm,
                start=start,
                size=raw,
                target_node=target_node,
                numa_node=numa_node,
                persistence=persistence,
            )
            region.memory = self.core.ports.create_memory(region)
            self.device_add(dimm)
            undo.callback(self.device_del, dimm)
            self.bind(self.drivers["nvdimm"], dimm)
            self.device_add(region)
            undo.callback(self.device_del, region)
            self.regions[number] = region
            undo.callback(self._forget, region)
            if align is not None and layout is not None:
                region.memory.write(INFO_OFFSET, InfoBlock(_random_uuid(), "pmem", align, layout).pack())
            self._enable(region, driver)
            undo.pop_all()
        return region

    def _forget(self, region: NdRegion) -> None:
        del self.regions[region.id]
        self.core.publish(Event("remove", region))

    def _enable(self, region: NdRegion, driver: str) -> None:
        """What ``ndctl create-namespace`` leaves: the first dax has the namespace, the second is the seed."""
        autoprobe, self.autoprobe = self.autoprobe, False
        try:
            self.bind(self.drivers["nd_region"], region)
        finally:
            self.autoprobe = autoprobe
        assert region.namespace is not None
        info = region.namespace.read_info()
        if info is None:
            self.offer(region.namespace)
            return
        claim = region.seeds["dax"]
        claim.uuid, claim.mode, claim.align = info.uuid, info.mode, info.align
        region.namespace.attach(claim, smallest=0)
        region.dax_driver = driver
        try:
            self.bind(self.drivers["dax_pmem"], claim)
        finally:
            region.dax_driver = "auto"

    def remove_region(self, region: NdRegion) -> None:
        """Unplug a module, with its region and all that is made of it. ENODEV: it was removed before."""
        if self.regions.get(region.id) is not region:
            raise KernelError(errno.ENODEV, f"{region.name} was removed")
        with ExitStack() as steps:
            steps.callback(self._dimm_ida.free, region.dimm.number)
            steps.callback(self.core.region_ida.free, region.id)
            steps.callback(self._forget, region)
            steps.callback(self.device_del, region.dimm)
            steps.callback(self.device_del, region)

    def shutdown(self) -> None:
        """Remove every region."""
        with ExitStack() as steps:
            for region in reversed(self.regions.values()):
                steps.callback(self.remove_region, region)

    # -- devices and drivers ------------------------------------------------------------------

    def device_add(self, device: NdDevice) -> None:
        """Put a device on the bus."""
        self.devices[device.name] = device
        self.core.uevent("add", device)

    def device_del(self, device: NdDevice) -> None:
        """Take a device off the bus, from its driver first."""
        with ExitStack() as steps:
            steps.callback(self.core.uevent, "remove", device)
            steps.callback(self.devices.pop, device.name)
            if device.driver is not None:
                steps.callback(self.unbind, device)

    def offer(self, device: NdDevice) -> None:
        """Give a device to the first driver that takes it, if new devices are to be given to drivers."""
        if self.autoprobe:
            self.probe(device)

    def probe(self, device: NdDevice) -> None:
        """Give an unbound device to the first driver that takes it; that none does is no error."""
        for driver in self.drivers.values():
            if device.driver is None and device.type_number in driver.takes:
                with suppress(KernelError):
                    self.bind(driver, device)

    def bind(self, driver: NdDriver, device: NdDevice) -> None:
        """Give a device to a driver. ENODEV: not one of its types. EBUSY: bound. Else what probe raises."""
        if device.type_number not in driver.takes:
            raise KernelError(errno.ENODEV, f"{driver.name} does not take {device.name}")
        if device.driver is not None:
            raise KernelError(errno.EBUSY, f"{device.name} is bound to {device.driver.name}")
        with ExitStack() as undo:
            driver.probe(device)
            undo.callback(driver.remove, device)
            device.driver = driver
            undo.callback(setattr, device, "driver", None)
            self.core.uevent("bind", device)
            self._advance_seed(device)
            self.changed(device)
            undo.pop_all()

    def unbind(self, device: NdDevice) -> None:
        """Take a device from its driver. ENODEV: it has none."""
        if device.driver is None:
            raise KernelError(errno.ENODEV, f"{device.name} is not bound")
        try:
            device.driver.remove(device)
        finally:
            device.driver = None
            self.core.uevent("unbind", device)
            self.changed(device)

    @staticmethod
    def _advance_seed(device: NdDevice) -> None:
        """A seed that comes into use is followed by a new one."""
        if isinstance(device, Claim) and device.region.seeds.get(device.kind) is device:
            device.region.create_seed(device.kind)

    def changed(self, device: NdDevice) -> None:
        """Tell the outside about the region that a device is part of."""
        region = device if isinstance(device, NdRegion) else getattr(device, "region", None)
        if region is not None and region.id in self.regions:
            self.core.publish(Event("change", region))

    def scrub(self) -> None:
        """Look for broken memory everywhere; what was hidden till now is found."""
        for region in self.regions.values():
            for start, end in region.latent.parts:
                region.set_poison(start, end, poisoned=True)
        self.scrubs += 1
        for region in self.regions.values():
            self.core.publish(Event("change", region))

    # -- block devices ------------------------------------------------------------------------

    def add_disk(self, namespace: Namespace) -> None:
        """A block device over a namespace."""
        self._disks_made += 1
        namespace.disk = Disk(namespace, Devt(BLOCK_MAJOR, self._disk_ida.alloc()), self._disks_made)
        self.core.uevent("add", namespace.disk)

    def remove_disk(self, namespace: Namespace) -> None:
        """The block device goes."""
        if namespace.disk is not None:
            self.core.uevent("remove", namespace.disk)
            self._disk_ida.free(namespace.disk.devt.minor)
            namespace.disk = None


def _random_uuid() -> bytes:
    """A random one, by the book: version 4."""
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    return bytes(number)
