"""A namespace: what a region's memory is used as."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.nvdimm.device import NdRegionChild
from daxemu.kernel.nvdimm.infoblock import INFO_OFFSET, INFO_SIZE, InfoBlock

if TYPE_CHECKING:
    from daxemu.kernel.nvdimm.claim import Claim
    from daxemu.kernel.nvdimm.disk import Disk
    from daxemu.kernel.nvdimm.region import NdRegion

__all__ = ["SMALLEST_CLAIMED", "Namespace"]

SMALLEST_CLAIMED = 16 << 20

# What the kinds of claims are called as modes.
_MODES = {"btt": "safe", "pfn": "memory", "dax": "dax"}


class Namespace(NdRegionChild):
    """``namespace<region>.0``, over all of a region; unlabelled, so its size is fixed.

    Raw, it is a block device; claimed, it belongs to a btt, pfn or dax. ``force_raw``: its info block
    is not looked at.
    """

    devtype = "nd_namespace_io"
    type_number = 4

    def __init__(self, region: NdRegion) -> None:
        super().__init__(region.bus, f"namespace{region.id}.0")
        self.region = region
        self.force_raw = False
        self.claim: Claim | None = None
        self.disk: Disk | None = None

    @property
    def start(self) -> int:
        """Physical address."""
        return self.region.start

    @property
    def size(self) -> int:
        """Bytes."""
        return self.region.size

    @property
    def mode(self) -> str:
        """How it is used now, in sysfs's words."""
        return _MODES[self.claim.kind] if self.claim is not None else "raw"

    def read_info(self) -> InfoBlock | None:
        """What its memory says that it is; None: nothing."""
        return InfoBlock.unpack(self.region.memory.read(INFO_OFFSET, INFO_SIZE))

    def write_info(self, info: InfoBlock) -> None:
        """Have its memory say what it is. ENXIO: the region is read-only."""
        if self.region.read_only:
            raise KernelError(errno.ENXIO, f"{self.region.name} is read-only")
        self.region.memory.write(INFO_OFFSET, info.pack())

    def attach(self, claim: Claim, *, smallest: int = SMALLEST_CLAIMED) -> None:
        """Let a claim have it. EBUSY: it has one; ENXIO: it is smaller than ``smallest`` bytes."""
        if self.size < smallest:
            raise KernelError(errno.ENXIO, f"{self.name} is too small: {self.size} of {smallest} bytes")
        if self.claim is not None:
            raise KernelError(errno.EBUSY, f"{self.name} is claimed by {self.claim.name}")
        self.claim, claim.namespace = claim, self
