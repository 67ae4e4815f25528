"""Physical ranges: who owns which part of a region, and how devices get theirs."""

from __future__ import annotations

import bisect
import errno

from daxemu.errors import KernelError
from daxemu.kernel.power import PowerSettings

__all__ = ["PAGE_SIZE", "DaxRange", "RangeTree", "device_ranges_size"]

PAGE_SIZE = 4096


class DaxRange:
    """A piece of physical memory that a device owns.

    ``start`` and ``end`` are byte addresses, ``end`` inclusive; ``pgoff`` is where the piece
    begins in the device, in pages; ``mapping_id`` is N of its ``mappingN`` directory.
    """

    def __init__(self, owner: str, start: int, end: int, pgoff: int = 0, mapping_id: int = -1) -> None:
        self.owner = owner
        self.start = start
        self.end = end
        self.pgoff = pgoff
        self.mapping_id = mapping_id
        self.power = PowerSettings()

    def __repr__(self) -> str:
        return f"<DaxRange {self.owner} {self.start:#x}-{self.end:#x}>"

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.end - self.start + 1

    @property
    def pages(self) -> int:
        """Length in pages."""
        return self.size // PAGE_SIZE


def device_ranges_size(ranges: list[DaxRange]) -> int:
    """Total size of a device's ranges in bytes."""
    return sum(piece.size for piece in ranges)


class RangeTree:
    """The children of a region's resource, sorted by address."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self._children: list[DaxRange] = []
        self._owned = 0
        self._full = 0  # no gap lies before the end of this many children

    def available(self) -> int:
        """Bytes that nobody owns."""
        return self.end - self.start + 1 - self._owned

    def children(self) -> tuple[DaxRange, ...]:
        """All owned ranges by address."""
        return tuple(self._children)

    def _index(self, piece: DaxRange) -> int:
        index = bisect.bisect_left(self._children, piece.start, key=lambda child: child.start)
        assert self._children[index] is piece, f"{piece!r} is not in the tree"
        return index

    def insert(self, piece: DaxRange) -> None:
        """Claim a range. Raises ENOMEM if it leaves the region or overlaps another, as the kernel does."""
        at = bisect.bisect(self._children, piece.start, key=lambda child: child.start)
        after_previous = at == 0 or self._children[at - 1].end < piece.start
        before_next = at == len(self._children) or piece.end < self._children[at].start
        inside = self.start <= piece.start <= piece.end <= self.end
        if not (inside and after_previous and before_next):
            raise KernelError(errno.ENOMEM, f"range {piece.start:#x}-{piece.end:#x} is taken or outside the region")
        self._children.insert(at, piece)
        self._owned += piece.size
        self._full = min(self._full, at)

    def remove(self, piece: DaxRange) -> None:
        """Give a range back."""
        index = self._index(piece)
        del self._children[index]
        self._owned -= piece.size
        self._full = min(self._full, max(index - 1, 0))

    def set_end(self, piece: DaxRange, end: int) -> None:
        """Move a range's end within the gap behind it."""
        index = self._index(piece)
        assert end <= self._gap_end(index), f"{piece!r} would overlap its successor"
        self._owned += end - piece.end
        piece.end = end
        self._full = min(self._full, index)

    def _gap_end(self, index: int) -> int:
        """Last byte before the next child."""
        last = index + 1 == len(self._children)
        return self.end if last else self._children[index + 1].start - 1

    def _first_gap(self) -> int:
        """Index of the first child with a gap behind it; -1 for a gap before the first child."""
        if not self._children or self._children[0].start > self.start:
            return -1
        while self._full < len(self._children):
            if self._children[self._full].end < self._gap_end(self._full):
                return self._full
            self._full += 1
        raise KernelError(errno.ENOSPC, "no free range is left in the region")

    def grow_step(self, owner: str, ranges: list[DaxRange], need: int) -> int:
        """Give ``owner`` up to ``need`` bytes from the first gap by address; return how many.

        The gap before the first child always becomes a new range. A gap that follows the device's
        last range extends it in place; any other becomes a new range at the end of the device.
        Raises ENOSPC when there is no gap.
        """
        index = self._first_gap()
        start = self.start if index < 0 else self._children[index].end + 1
        amount = min(need, self._gap_end(index) - start + 1)
        if index >= 0 and ranges and self._children[index] is ranges[-1]:
            self.set_end(ranges[-1], ranges[-1].end + amount)
        else:
            pgoff = ranges[-1].pgoff + ranges[-1].pages if ranges else 0
            piece = DaxRange(owner, start, start + amount - 1, pgoff)
            self.insert(piece)
            ranges.append(piece)
        return amount

    def shrink(self, ranges: list[DaxRange], to_size: int) -> list[DaxRange]:
        """Cut a device's ranges down to ``to_size`` bytes from the end; return the ranges dropped whole."""
        dropped = []
        excess = device_ranges_size(ranges) - to_size
        while excess > 0:
            piece = ranges[-1]
            if piece.size <= excess:
                excess -= piece.size
                self.remove(ranges.pop())
                dropped.append(piece)
            else:
                self.set_end(piece, piece.end - excess)
                excess = 0
        return dropped
