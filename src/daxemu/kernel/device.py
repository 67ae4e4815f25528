"""dev_dax: one dax device, from birth to release."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from daxemu.errors import KernelError
from daxemu.kernel.badblocks import SECTOR_SIZE, joined
from daxemu.kernel.ids import MINORMASK, Devt, Ida
from daxemu.kernel.kmsg import KERN_WARNING
from daxemu.kernel.ports import Backing, Event
from daxemu.kernel.power import PowerSettings
from daxemu.kernel.pseudofs import DaxInode, NodeInode
from daxemu.kernel.ranges import PAGE_SIZE, DaxRange, device_ranges_size
from daxemu.kernel.region import ALIGNMENTS, SUBSECTION_SIZE, DaxRegion
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.drivers import Driver

__all__ = ["DaxMapping", "DevDax"]


class DaxMapping(NamedTuple):
    """The child device ``mappingN`` that stands for one of a device's ranges. On no bus: it has no uevents."""

    device: DevDax
    range: DaxRange

    @property
    def core(self) -> DaxCore:
        """The subsystem it is part of."""
        return self.device.core

    def kobject(self) -> Kobject:
        """The child device itself."""
        name = f"mapping{self.range.mapping_id}"
        return Kobject(f"{self.device.devpath}/{name}", "", {}, f" {name}")


class DevDax:
    """A device ``dax<region>.<id>``. Made by ``DaxCore.create_device``; see there for the life cycle."""

    inode: DaxInode
    backing: Backing
    devt: Devt

    def __init__(self, core: DaxCore, region: DaxRegion, device_id: int) -> None:
        self.core = core
        self.region = region
        self.id = device_id
        self.name = f"dax{region.id}.{device_id}"
        self.align = region.align
        self.ranges: list[DaxRange] = []
        self.mapping_ida = Ida(MINORMASK + 1, f"mappings of {self.name}")
        self.driver: Driver | None = None
        self.alive = False
        self.pgmap = False
        self.read_only = False
        self.registered = False
        self.kref = 1
        self.memmap_on_memory = False
        self.openers: list[NodeInode] = []
        self.power = PowerSettings()

    def __repr__(self) -> str:
        return f"<DevDax {self.name} {self.size} bytes{' alive' if self.alive else ''}>"

    @property
    def size(self) -> int:
        """Bytes: the sum of the device's ranges."""
        return device_ranges_size(self.ranges)

    @property
    def devpath(self) -> str:
        """Path of its directory below /sys."""
        return f"/{self.region.sysfs_parent}/{self.name}"

    def mappings(self) -> list[DaxMapping]:
        """Its ranges as child devices."""
        return [DaxMapping(self, piece) for piece in self.ranges]

    @property
    def log_name(self) -> str:
        """What the kernel's log calls it: its driver, else its bus, and its name (dev_driver_string)."""
        return f"{self.driver.name if self.driver else self.core.bus.name} {self.name}"

    def log(self, level: int, text: str) -> None:
        """Add a line about the device to the kernel's log (dev_printk)."""
        self.core.log(level, f"{self.log_name}: {text}")

    def kobject(self) -> Kobject:
        """The device as uevents see it."""
        variables = {"MAJOR": str(self.devt.major), "MINOR": str(self.devt.minor), "DEVNAME": self.name}
        if self.driver is not None:
            variables["DRIVER"] = self.driver.name
        variables["MODALIAS"] = "dax:t0"
        return Kobject(self.devpath, "dax", variables, self.log_name)

    def get(self) -> None:
        """Take a reference (get_device)."""
        self.kref += 1

    def put(self) -> None:
        """Drop a reference (put_device); the last one releases everything the device held."""
        assert self.kref > 0, "device reference dropped twice"
        self.kref -= 1
        if self.kref == 0:
            self.core.release_device(self)

    # -- revocation ---------------------------------------------------------------------------

    def kill(self) -> None:
        """No new mapping, and no page left in any old one (kill_dev_dax): the order is what matters."""
        self.alive = False
        try:
            self.core.publish(Event("kill", self))
        finally:
            self.inode.i_mapping.unmap_mapping_range(0, 0)

    def run(self) -> None:
        """Alive (again): old mappings fault their pages back in (run_dax). Raises ENXIO while no driver is bound."""
        if self.driver is None or not self.driver.maps:
            raise KernelError(errno.ENXIO, f"{self.name} has no driver that programs can map it through")
        if self.alive:
            return
        self.alive = True
        try:
            self.core.publish(Event("revive", self))
        except BaseException:
            self.kill()
            raise

    def set_read_only(self, read_only: bool) -> None:
        """Refuse, or again allow, opens and mappings for writing. Mappings that are there stay as they are."""
        before, self.read_only = self.read_only, read_only
        try:
            self.core.publish(Event("change", self))
        except BaseException:
            self.read_only = before
            self.core.publish(Event("change", self))
            raise

    # -- broken memory ------------------------------------------------------------------------

    @property
    def poison(self) -> list[tuple[int, int]]:
        """Broken parts [start, end) of the device, in whole sectors."""
        return self.region.badblocks.of(self.ranges)

    @property
    def poisoned_blocks(self) -> list[tuple[int, int]]:
        """What of the device no mapping gives: the blocks of its alignment in which something is broken."""
        align = self.align
        return joined((start - start % align, end + -end % align) for start, end in self.poison)

    @property
    def scattered_blocks(self) -> list[tuple[int, int]]:
        """Blocks of the alignment that do not lie whole in one range: touching them is SIGBUS."""
        ends = [(piece.pgoff * PAGE_SIZE, piece.pgoff * PAGE_SIZE + piece.size) for piece in self.ranges]
        cut = {at - at % self.align for piece in ends for at in piece if at % self.align}
        return joined((at, at + self.align) for at in sorted(cut))

    @property
    def has_faults(self) -> bool:
        """Is there anything of an alive device that no mapping gives?"""
        return bool(self.poison or self.scattered_blocks)

    def set_poison(self, offset: int, length: int, *, poisoned: bool) -> None:
        """Break or mend every sector that holds some of ``length`` bytes at ``offset``.

        ENODEV: the device was removed. EINVAL: no bytes, or not all inside the device.
        """
        if not self.registered:
            raise KernelError(errno.ENODEV, f"{self.name} was removed")
        if offset < 0 or length <= 0 or offset + length > self.size:
            raise KernelError(errno.EINVAL, f"{length} bytes at {offset} are not part of {self.name} of {self.size}")
        first, last = offset - offset % SECTOR_SIZE, offset + length + -(offset + length) % SECTOR_SIZE
        badblocks = self.region.badblocks
        before = badblocks.parts
        for piece in self.ranges:
            shift = piece.start - piece.pgoff * PAGE_SIZE
            start, end = max(first + shift, piece.start), min(last + shift, piece.end + 1)
            if start < end:
                (badblocks.add if poisoned else badblocks.clear)(start, end)
        try:
            self.core.publish(Event("poison", self, (offset, offset + length) if poisoned else None))
        except BaseException:
            badblocks.parts = before
            self.core.publish(Event("poison", self))
            raise

    # -- ranges -------------------------------------------------------------------------------

    def pgoff_to_phys(self, pgoff: int, size: int) -> int | None:
        """Physical address of ``size`` bytes at page ``pgoff``; None unless one range holds them all."""
        for piece in self.ranges:
            if piece.pgoff <= pgoff < piece.pgoff + piece.pages:
                phys = piece.start + (pgoff - piece.pgoff) * PAGE_SIZE
                return phys if phys + size - 1 <= piece.end else None
        return None

    def grow_ranges(self, amount: int) -> None:
        """Take ``amount`` more bytes from the region, first fit. Undone if the space runs out on the way."""
        before = self.size
        with ExitStack() as undo:
            undo.callback(self.shrink_ranges, before)
            while amount:
                amount -= self.region.resource.grow_step(self.name, self.ranges, amount)
                if self.ranges[-1].mapping_id < 0:
                    self.ranges[-1].mapping_id = self.mapping_ida.alloc()
            undo.pop_all()

    def shrink_ranges(self, to_size: int) -> None:
        """Give everything past ``to_size`` bytes back to the region."""
        for piece in self.region.resource.shrink(self.ranges, to_size):
            if piece.mapping_id >= 0:
                self.mapping_ida.free(piece.mapping_id)

    def set_align(self, align: int) -> None:
        """Change the alignment, in the kernel's order of checks.

        ENODEV: the device was removed. EINVAL: no CPU maps it. EBUSY: a driver is bound. EINVAL:
        some range is not a multiple of max(align, 2 MiB).
        """
        if not self.registered:
            raise KernelError(errno.ENODEV, f"{self.name} was removed")
        if align not in ALIGNMENTS:
            raise KernelError(errno.EINVAL, f"alignment {align} is none of {', '.join(map(str, ALIGNMENTS))}")
        if self.driver is not None:
            raise KernelError(errno.EBUSY, f"{self.name} is bound to {self.driver.name}")
        unit = max(align, SUBSECTION_SIZE)
        if any(piece.size % unit for piece in self.ranges):
            raise KernelError(errno.EINVAL, f"{self.name} has ranges that are not a multiple of {unit}")
        before, self.align = self.align, align
        try:
            self.core.publish(Event("change", self))
        except BaseException:
            self.align = before
            self.core.publish(Event("change", self))
            raise

    def add_range(self, start: int, end: int) -> None:
        """Append the physical range [start, end] to the device (``mapping``), bound or not.

        The region is gone, or a misaligned length: ENXIO, or nothing at all, by flavour. Length 0:
        EBUSY if the device has ranges, else nothing. ENOMEM: taken, or outside the region.
        """
        size = end - start + 1
        if not self.region.published:
            if not self.core.flavour.mapping_ignores_gone_region:
                raise KernelError(errno.ENXIO, f"region {self.region.id} was removed")
            return
        if size % max(self.align, SUBSECTION_SIZE):
            if not self.core.flavour.mapping_ignores_misaligned:
                raise KernelError(errno.ENXIO, f"range of {size} bytes is not aligned")
            return
        if size == 0:
            if self.ranges:
                self.log(KERN_WARNING, "0-size allocation must be first")
                raise KernelError(errno.EBUSY, "0-size allocation must be first")
            return
        before = self.size
        pgoff = self.ranges[-1].pgoff + self.ranges[-1].pages if self.ranges else 0
        with ExitStack() as undo:
            piece = DaxRange(self.name, start, end, pgoff)
            self.region.resource.insert(piece)
            self.ranges.append(piece)
            undo.callback(self.shrink_ranges, before)
            piece.mapping_id = self.mapping_ida.alloc()
            self.backing.resize(self.size)
            undo.callback(self.backing.resize, before)
            self.core.publish(Event("resize", self))
            undo.pop_all()

    def resize(self, size: int) -> None:
        """Change the size, in the kernel's order of checks.

        ENODEV: the device was removed. EINVAL: not a multiple of max(align, 2 MiB). EBUSY: a driver
        is bound. ENOSPC: the region has not that much left. What a shrink cuts off is revoked from
        every mapping.
        """
        if not self.registered:
            raise KernelError(errno.ENODEV, f"{self.name} was removed")
        unit = max(self.align, SUBSECTION_SIZE)
        if size < 0 or size % unit:
            raise KernelError(errno.EINVAL, f"size {size} of {self.name} is not a multiple of {unit}")
        if self.driver is not None:
            raise KernelError(errno.EBUSY, f"{self.name} is bound to {self.driver.name}")
        amount, available = size - self.size, self.region.available_size()
        if amount > available:
            raise KernelError(errno.ENOSPC, f"{self.name} needs {amount} more bytes, the region has {available}")
        try:
            if amount > 0:
                self._grow(amount)
            elif amount < 0:
                self._shrink(size)
        except BaseException:
            self.core.publish(Event("resize", self))
            raise

    def _grow(self, amount: int) -> None:
        before = self.size
        with ExitStack() as undo:
            self.grow_ranges(amount)
            undo.callback(self.shrink_ranges, before)
            self.backing.resize(self.size)
            undo.callback(self.backing.resize, before)
            self.core.publish(Event("resize", self))
            undo.pop_all()

    def _shrink(self, size: int) -> None:
        """Cut the memory last: whatever fails before has lost no data."""
        held = [(piece, piece.end) for piece in self.ranges]
        self.region.resource.shrink(self.ranges, size)
        kept = len(self.ranges)
        try:
            self.core.publish(Event("resize", self))
            self.inode.i_mapping.unmap_mapping_range(size, 0)
            self.backing.resize(size)
        except BaseException:
            for piece, end in held[:kept]:
                self.region.resource.set_end(piece, end)
            for piece, _ in held[kept:]:
                self.region.resource.insert(piece)
                self.ranges.append(piece)
            raise
        for piece, _ in held[kept:]:
            self.mapping_ida.free(piece.mapping_id)
