"""dax_region: a physical range that a provider hands to the dax bus."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.badblocks import Badblocks
from daxemu.kernel.ids import MINORMASK, Ida
from daxemu.kernel.ports import Event
from daxemu.kernel.power import PowerSettings
from daxemu.kernel.ranges import RangeTree
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.device import DevDax
    from daxemu.kernel.nvdimm.claim import DaxClaim
    from daxemu.kernel.nvdimm.region import NdRegion
    from daxemu.kernel.providers import Provider

__all__ = ["ALIGNMENTS", "SUBSECTION_SIZE", "DaxRegion"]

ALIGNMENTS = (4096, 2 << 20, 1 << 30)
SUBSECTION_SIZE = 2 << 20


class DaxRegion:
    """A range [start, start+size) of physical memory and the devices made of it.

    ``target_node`` is the node that the memory makes when it becomes ordinary memory, ``numa_node``
    the one that it is near to; -1 for none. ``kmem``: it is meant to become that. ``claim`` is what
    on the nvdimm bus carries it, where it is made of a namespace.

    Raises EINVAL for an alignment no CPU maps, ENOMEM if it does not divide start and size.
    """

    def __init__(
        self,
        core: DaxCore,
        region_id: int,
        provider: Provider,
        *,
        start: int,
        size: int,
        align: int,
        target_node: int = 0,
        numa_node: int = 0,
        kmem: bool | None = None,
        claim: DaxClaim | None = None,
    ) -> None:
        if align not in ALIGNMENTS:
            raise KernelError(errno.EINVAL, f"alignment {align} is none of {', '.join(map(str, ALIGNMENTS))}")
        if size <= 0 or start % align or size % align:
            raise KernelError(errno.ENOMEM, f"region {start:#x}+{size:#x} is not a multiple of its alignment {align}")
        self.core = core
        self.id = region_id
        self.provider = provider
        self.start = start
        self.size = size
        self.align = align
        self.target_node = target_node
        self.numa_node = numa_node
        self.kmem = provider.kmem if kmem is None else kmem
        self.claim = claim
        self.resource = RangeTree(start, start + size - 1)
        self.badblocks = claim.region.badblocks if claim is not None else Badblocks()
        self.ida = Ida(MINORMASK + 1, f"device ids of region {region_id}")
        self.children: dict[str, DevDax] = {}
        self.kref = 1
        self.published = False
        self.seed: DevDax | None = None
        self.youngest: DevDax | None = None
        self.driver_override = ""
        self.power = PowerSettings()

    @property
    def is_static(self) -> bool:
        """A static region has one device for life; a dynamic one creates, resizes and deletes them."""
        return self.provider.static

    @property
    def sysfs_parent(self) -> str:
        """Path below /sys of the device that carries ``dax_region/`` and the dax devices."""
        return self.claim.home if self.claim is not None else self.provider.parent.format(id=self.id)

    @property
    def hardware(self) -> DaxRegion | NdRegion:
        """What has the memory that the region is a part of: itself, or a region of an NVDIMM."""
        return self.claim.region if self.claim is not None else self

    def kobject(self) -> Kobject:
        """The device that carries the region, bound to its provider's driver while the region is there."""
        if self.claim is not None:
            return self.claim.kobject()
        provider = self.provider
        variables = {
            "DEVTYPE": provider.devtype,
            "DRIVER": provider.driver if self.published else "",
            "MODALIAS": provider.modalias,
        }
        return Kobject(
            f"/{self.sysfs_parent}",
            provider.bus,
            {name: value for name, value in variables.items() if value},
            f"{provider.driver} {self.sysfs_parent.rpartition('/')[2]}",
        )

    def override_driver(self, name: str) -> None:
        """Say which driver alone may have the device that carries the region; it stays bound to the one it has."""
        self.driver_override = name
        self.core.publish(Event("change", self))

    def available_size(self) -> int:
        """Bytes that no device owns."""
        return self.resource.available()

    def get(self) -> None:
        """Take a reference (kref_get)."""
        self.kref += 1

    def put(self) -> None:
        """Drop a reference (kref_put)."""
        assert self.kref > 0, "region reference dropped twice"
        self.kref -= 1
