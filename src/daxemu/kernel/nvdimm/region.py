"""An NVDIMM and the region of physical memory that it provides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daxemu.kernel.badblocks import SECTOR_SIZE, Badblocks, joined
from daxemu.kernel.ids import MINORMASK, Devt, Ida
from daxemu.kernel.nvdimm.claim import CLAIMS, Claim, DaxClaim
from daxemu.kernel.nvdimm.device import NdDevice
from daxemu.kernel.nvdimm.namespace import Namespace
from daxemu.kernel.ranges import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daxemu.kernel.nvdimm.bus import NvdimmBus
    from daxemu.kernel.ports import RawMemory
    from daxemu.kernel.region import DaxRegion

__all__ = ["PERSISTENCE_DOMAINS", "Dimm", "NdRegion"]

_SERIAL = 0x123456
PERSISTENCE_DOMAINS = ("memory_controller", "cpu_cache")


class Dimm(NdDevice):
    """A module, ``nmem<id>``; each provides one region.

    ``dirty_shutdowns`` counts the losses of power after which not all that was on its way had arrived.
    """

    devtype = "nvdimm"
    type_number = 1

    def __init__(self, bus: NvdimmBus, number: int) -> None:
        super().__init__(bus, f"nmem{number}")
        self.number = number
        self.devt = Devt(bus.dimm_major, number)
        self.region: NdRegion | None = None
        self.dirty_shutdowns = 0

    @property
    def home(self) -> str:
        """Its path below /sys."""
        return f"{self.bus.home}/{self.name}"

    @property
    def handle(self) -> int:
        """By which the firmware knows it."""
        return self.number + 1

    @property
    def serial(self) -> str:
        """What is printed on it: four bytes, the lowest first."""
        return (_SERIAL + self.number).to_bytes(4, "little").hex()


class NdRegion(NdDevice):
    """A region ``region<id>``: physical memory [start, start + size) of one module, with one namespace over all of it.

    ``persistence`` says from where on a store is safe: ``memory_controller``, or ``cpu_cache`` where
    even the caches survive (eADR). While the region is disabled it has no namespace.
    """

    devtype = "nd_pmem"
    type_number = 2

    def __init__(
        self,
        bus: NvdimmBus,
        number: int,
        dimm: Dimm,
        *,
        start: int,
        size: int,
        target_node: int,
        numa_node: int,
        persistence: str,
    ) -> None:
        super().__init__(bus, f"region{number}")
        self.id = number
        self.dimm, dimm.region = dimm, self
        self.start = start
        self.size = size
        # Hardware's regions are multiples of the kernel's 16 MiB, and ndctl divides no other: smaller ones get less.
        self.align = min(16 << 20, size & -size)
        self.target_node = target_node
        self.numa_node = numa_node
        self.persistence = persistence
        self.badblocks = Badblocks()
        self.latent = Badblocks()  # broken without anybody knowing
        self.read_only = False
        self.dax_driver = "auto"  # what the dax device that is made next is bound to
        self.memory: RawMemory
        self.namespace: Namespace | None = None
        self.claims: dict[str, Claim] = {}
        self.seeds: dict[str, Claim] = {}
        self._idas = {kind: Ida(MINORMASK + 1, f"{kind} devices of {self.name}") for kind in CLAIMS}

    @property
    def home(self) -> str:
        """Its path below /sys."""
        return f"{self.bus.home}/{self.name}"

    @property
    def cookie(self) -> int:
        """Which modules it is made of: Fletcher's sum of an offset of 0 and the module's serial number."""
        serial = _SERIAL + self.dimm.number
        return serial << 33 | serial

    def bad_blocks(self) -> list[tuple[int, int]]:
        """Sectors of 512 bytes that are broken: the first, and how many."""
        start = self.start
        return [((a - start) // SECTOR_SIZE, (b - a) // SECTOR_SIZE) for a, b in self.badblocks.parts]

    def broken(self) -> list[tuple[int, int]]:
        """Broken parts [start, end) of physical memory, known or not."""
        return joined([*self.badblocks.parts, *self.latent.parts])

    def set_poison(self, start: int, end: int, *, poisoned: bool) -> None:
        """Break or mend memory, and whatever is made of it: every sector that holds some of it."""
        start, end = start // SECTOR_SIZE * SECTOR_SIZE, -(-end // SECTOR_SIZE) * SECTOR_SIZE
        self.latent.clear(start, end)
        dax = self.dax_region()
        for device in dax.children.values() if dax is not None else ():
            for piece in list(device.ranges):
                first, last = max(start, piece.start), min(end, piece.end + 1)
                if first < last:
                    offset = first - piece.start + piece.pgoff * PAGE_SIZE
                    device.set_poison(offset, last - first, poisoned=poisoned)
        (self.badblocks.add if poisoned else self.badblocks.clear)(start, end)
        self.changed()

    def nodes(self) -> Iterator[tuple[str, Devt, bool]]:
        """Its nodes in /dev: name, number, and whether it is a block device."""
        assert self.dimm.devt is not None
        yield self.dimm.name, self.dimm.devt, False
        if self.namespace is not None and self.namespace.disk is not None:
            yield self.namespace.disk.name, self.namespace.disk.devt, True

    def deep_flush(self) -> None:
        """Nothing is held back that would have to be written."""

    def dax_region(self) -> DaxRegion | None:
        """The dax region that its namespace is at present."""
        claim = self.namespace.claim if self.namespace is not None else None
        return claim.dax_region if isinstance(claim, DaxClaim) else None

    @property
    def hardware(self) -> NdRegion:
        """What has the memory: itself."""
        return self

    @property
    def published(self) -> bool:
        """Is it there?"""
        return self.bus.regions.get(self.id) is self

    def devices(self) -> list[NdDevice]:
        """Everything on the bus that belongs to it."""
        return [self.dimm, self, *([self.namespace] if self.namespace else []), *self.claims.values()]

    def create_claim(self, kind: str) -> Claim:
        """Make an idle btt, pfn or dax with the lowest free number."""
        ida = self._idas[kind]
        claim = CLAIMS[kind](self, ida.alloc())
        self.claims[claim.name] = claim
        self.bus.device_add(claim)
        return claim

    def create_seed(self, kind: str) -> None:
        """Make the one that the next user of this kind takes."""
        self.seeds[kind] = self.create_claim(kind)

    def destroy_claim(self, claim: Claim) -> None:
        """Remove a claim from the bus, unbound first."""
        self.bus.device_del(claim)
        claim.detach()
        del self.claims[claim.name]
        self._idas[claim.kind].free(claim.number)
        if self.seeds.get(claim.kind) is claim:
            del self.seeds[claim.kind]
