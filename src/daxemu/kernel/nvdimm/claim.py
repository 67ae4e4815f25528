"""What can claim a namespace: btt (atomic sectors), pfn (a page map, for file systems), dax (for programs)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from daxemu.errors import KernelError
from daxemu.kernel.nvdimm.device import NdRegionChild

if TYPE_CHECKING:
    from daxemu.kernel.nvdimm.namespace import Namespace
    from daxemu.kernel.nvdimm.region import NdRegion
    from daxemu.kernel.region import DaxRegion

__all__ = ["CLAIMS", "SECTOR_SIZES", "BttClaim", "Claim", "DaxClaim", "PfnClaim"]


SECTOR_SIZES = (512, 520, 528, 4096, 4104, 4160, 4224)


class Claim(NdRegionChild):
    """A device ``<kind><region>.<number>`` that a namespace is given to. The idle newest one is the region's seed.

    ``mode`` is where a page map is kept, ``none`` until it is set; ``uuid`` is 16 bytes.
    """

    kind: ClassVar[str]
    type_number = 4

    def __init__(self, region: NdRegion, number: int) -> None:
        super().__init__(region.bus, f"{self.kind}{region.id}.{number}")
        self.region = region
        self.number = number
        self.namespace: Namespace | None = None
        self.uuid: bytes | None = None
        self.mode = "none"
        self.align = 2 << 20
        self.sector_size = 0

    def must_be_unbound(self) -> None:
        """EBUSY: a driver has it."""
        if self.driver is not None:
            raise KernelError(errno.EBUSY, f"{self.name} is active")

    def set_namespace(self, name: str) -> None:
        """Claim a namespace by name; with an empty one give it up, and with it the claim, unless it is the seed.

        EBUSY: a driver has it, or it has a namespace, or the namespace has a claim. ENODEV: no such namespace.
        """
        self.must_be_unbound()
        if not name:
            self.reset()
            return
        if self.namespace is not None:
            raise KernelError(errno.EBUSY, f"{self.name} has {self.namespace.name}")
        namespace = self.region.namespace
        if namespace is None or namespace.name != name:
            raise KernelError(errno.ENODEV, f"{self.region.name} has no namespace {name!r}")
        namespace.attach(self)

    def detach(self) -> None:
        """Give the namespace up."""
        if self.namespace is not None:
            self.namespace.claim = None
            self.namespace = None

    def reset(self) -> None:
        """Give the namespace up; become the seed as it was new, or go."""
        self.detach()
        if self.region.seeds.get(self.kind) is not self:
            self.region.destroy_claim(self)
            return
        self.uuid, self.mode, self.sector_size = None, "none", 0


class BttClaim(Claim):
    """A block translation table."""

    kind = "btt"
    devtype = "nd_btt"


class PfnClaim(Claim):
    """A page map, for a file system."""

    kind = "pfn"
    devtype = "nd_pfn"


class DaxClaim(Claim):
    """A page map, for programs. While its driver is bound it carries a dax region with its device."""

    kind = "dax"
    devtype = "nd_dax"
    type_number = 7

    def __init__(self, region: NdRegion, number: int) -> None:
        super().__init__(region, number)
        self.dax_region: DaxRegion | None = None


CLAIMS: dict[str, type[Claim]] = {claim.kind: claim for claim in (BttClaim, PfnClaim, DaxClaim)}
