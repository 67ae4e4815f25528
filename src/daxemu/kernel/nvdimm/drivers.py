"""The drivers of the nvdimm bus."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar

from daxemu.errors import KernelError
from daxemu.kernel.nvdimm.claim import CLAIMS, BttClaim, Claim, DaxClaim
from daxemu.kernel.nvdimm.infoblock import InfoBlock, lay_out
from daxemu.kernel.nvdimm.namespace import Namespace
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.providers.pmem import PMEM
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.nvdimm.bus import NvdimmBus
    from daxemu.kernel.nvdimm.device import NdDevice

__all__ = ["DaxPmem", "NdDriver", "NdPmem", "NdRegionDriver", "NvdimmDriver"]


class NdDriver:
    """A driver on the bus: takes devices of the types in ``takes``."""

    name: ClassVar[str]
    module: ClassVar[str] = "libnvdimm"
    takes: ClassVar[frozenset[int]]

    def __init__(self, bus: NvdimmBus) -> None:
        self.bus = bus

    @property
    def core(self) -> DaxCore:
        """The subsystem."""
        return self.bus.core

    def kobject(self) -> Kobject:
        """What uevents about the driver say."""
        return Kobject(f"/bus/nd/drivers/{self.name}", "drivers", {})

    def probe(self, device: NdDevice) -> None:
        """Take a device over; raising leaves it unbound."""

    def remove(self, device: NdDevice) -> None:
        """Let a device go."""


class NvdimmDriver(NdDriver):
    """nvdimm: a module."""

    name = "nvdimm"
    takes = frozenset({1})


class NdRegionDriver(NdDriver):
    """nd_region: an enabled region has its namespace, and a seed of each kind of claim."""

    name = "nd_region"
    takes = frozenset({2})

    def probe(self, device: NdDevice) -> None:
        """Make the namespace and the seeds, then offer the namespace to its drivers."""
        assert isinstance(device, NdRegion)
        with ExitStack() as undo:
            undo.callback(self.remove, device)
            device.namespace = Namespace(device)
            self.bus.device_add(device.namespace)
            for kind in CLAIMS:
                device.create_seed(kind)
            self.bus.offer(device.namespace)
            undo.pop_all()

    def remove(self, device: NdDevice) -> None:
        """All that is in the region goes: what is in use first."""
        assert isinstance(device, NdRegion)
        with ExitStack() as steps:
            if device.namespace is not None:
                steps.callback(setattr, device, "namespace", None)
                steps.callback(self.bus.device_del, device.namespace)
            for claim in sorted(device.claims.values(), key=lambda claim: claim.driver is not None):
                steps.callback(device.destroy_claim, claim)


def _check_namespace(device: NdDevice) -> Namespace:
    """The namespace to be taken over for a device, or for itself. EBUSY, ENXIO: somebody else has it."""
    if isinstance(device, Claim):
        namespace = device.namespace
        if namespace is None:
            raise KernelError(errno.ENODEV, f"{device.name} has no namespace")
        if namespace.driver is not None:
            raise KernelError(errno.EBUSY, f"{namespace.name} is active")
        return namespace
    assert isinstance(device, Namespace)
    if device.claim is not None:
        raise KernelError(errno.ENXIO, f"{device.name} is claimed by {device.claim.name}")
    return device


class NdPmem(NdDriver):
    """nd_pmem: a block device over a raw namespace; or the one who finds out that it is not raw."""

    name = "nd_pmem"
    module = "nd_pmem"
    takes = frozenset({4, 5})

    def probe(self, device: NdDevice) -> None:
        """Make a block device. ENXIO: the info block says that it belongs to a dax, which now is made.

        EOPNOTSUPP: a file system's or a btt's block device, which is not emulated.
        """
        namespace = _check_namespace(device)
        if isinstance(device, Claim):
            kind = "sector (btt)" if isinstance(device, BttClaim) else "fsdax (pfn)"
            raise KernelError(errno.EOPNOTSUPP, f"{device.name}: namespaces in mode {kind} are not emulated")
        info = None if namespace.force_raw else namespace.read_info()
        if info is not None:
            self._hand_to_dax(namespace, info)
            raise KernelError(errno.ENXIO, f"{namespace.name} is a devdax namespace")
        self.bus.add_disk(namespace)

    def _hand_to_dax(self, namespace: Namespace, info: InfoBlock) -> None:
        claim = namespace.region.create_claim("dax")
        claim.uuid, claim.mode, claim.align = info.uuid, info.mode, info.align
        namespace.attach(claim)
        self.bus.offer(claim)

    def remove(self, device: NdDevice) -> None:
        """The block device goes."""
        assert isinstance(device, Namespace)
        self.bus.remove_disk(device)


class DaxPmem(NdDriver):
    """dax_pmem: a claimed namespace becomes a dax region with its one device."""

    name = "dax_pmem"
    module = "dax_pmem"
    takes = frozenset({7})

    def probe(self, device: NdDevice) -> None:
        """Find or write the info block, make the region and its device.

        ENODEV: no namespace, uuid or mode is set. EINVAL: the info block of the same uuid says something
        else. EOPNOTSUPP: it says something that cannot be. ENXIO: too little would be left.
        """
        assert isinstance(device, DaxClaim)
        namespace = _check_namespace(device)
        info = self._set_up(device, namespace)
        device.dax_region = self.bus.core.add_region(
            PMEM,
            start=namespace.start + info.layout.offset,
            size=info.layout.size,
            align=info.align,
            target_node=device.region.target_node,
            numa_node=device.region.numa_node,
            driver=device.region.dax_driver,
            claim=device,
        )

    @staticmethod
    def _set_up(claim: DaxClaim, namespace: Namespace) -> InfoBlock:
        if claim.uuid is None or claim.mode == "none":
            raise KernelError(errno.ENODEV, f"{claim.name} has no uuid or no mode")
        info = namespace.read_info()
        if info is None or info.uuid != claim.uuid:
            layout = lay_out(namespace.start, namespace.size, claim.align, claim.mode)
            info = InfoBlock(claim.uuid, claim.mode, claim.align, layout)
            namespace.write_info(info)
            return info
        if (info.mode, info.align) != (claim.mode, claim.align):
            raise KernelError(errno.EINVAL, f"{namespace.name} has an info block of another mode or alignment")
        offset, size, _ = info.layout
        if info.align > namespace.size or offset + size > namespace.size or (namespace.start + offset) % info.align:
            raise KernelError(errno.EOPNOTSUPP, f"the info block of {namespace.name} does not fit it")
        return info

    def remove(self, device: NdDevice) -> None:
        """The device and its region go; the info block stays."""
        assert isinstance(device, DaxClaim)
        region, device.dax_region = device.dax_region, None
        if region is not None:
            self.bus.core.remove_region(region)
