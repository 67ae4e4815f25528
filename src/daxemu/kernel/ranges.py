"""Physical ranges: who owns which part of a region, and how devices get theirs."""

from __future__ import annotations

import bisect
import errno

from daxemu.errors import KernelError

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

    def available(self) -> int:
        """Bytes that nobody owns."""
        return self.end - self.start + 1 - device_ranges_size(self._children)

    def children(self) -> tuple[DaxRange, ...]:
        """All owned ranges by address."""
        return tuple(self._children)

    def insert(self, piece: DaxRange) -> None:
        """Claim a range. Raises ENOMEM if it leaves the region or overlaps another, as the kernel does."""
        at = bisect.bisect(self._children, piece.start, key=lambda child: child.start)
        after_previous = at == 0 or self._children[at - 1].end < piece.start
        before_next = at == len(self._children) or piece.end < self._children[at].start
        inside = self.start <= piece.start <= piece.end <= self.end
        if not (inside and after_previous and before_next):
            raise KernelError(errno.ENOMEM, f"range {piece.start:#x}-{piece.end:#x} is taken or outside the region")
        self._children.insert(at, piece)

    def remove(self, piece: DaxRange) -> None:
        """Give a range back."""
        index = next(i for i, child in enumerate(self._children) if child is piece)
        del self._children[index]

    def grow_step(self, owner: str, ranges: list[DaxRange], need: int) -> int:
        """Give ``owner`` up to ``need`` bytes from the first gap by address; return how many.

        The gap before the first child always becomes a new range. A gap that follows the device's
        last range extends it in place; any other becomes a new range at the end of the device.
        Raises ENOSPC when there is no gap.
        """
        if not self._children:
            return self._append(owner, ranges, self.start, min(need, self.end - self.start + 1))
        first = self._children[0]
        if first.start > self.start:
            return self._append(owner, ranges, self.start, min(need, first.start - self.start))
        for index, child in enumerate(self._children):
            last = index + 1 == len(self._children)
            gap = (self.end if last else self._children[index + 1].start - 1) - child.end
            if gap <= 0:
                continue
            amount = min(need, gap)
            if ranges and child is ranges[-1]:
                child.end += amount
                return amount
            return self._append(owner, ranges, child.end + 1, amount)
        raise KernelError(errno.ENOSPC, "no free range is left in the region")

    def _append(self, owner: str, ranges: list[DaxRange], start: int, amount: int) -> int:
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
                piece.end -= excess
                excess = 0
        return dropped
