"""Broken memory: the sectors of a region that cannot be read, as the kernel keeps them for a block device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daxemu.kernel.ranges import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daxemu.kernel.ranges import DaxRange

__all__ = ["SECTOR_SIZE", "Badblocks", "joined"]

SECTOR_SIZE = 512


def joined(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Parts [start, end) by address, those that overlap or touch made one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


class Badblocks:
    """Which parts [start, end) of physical memory are broken; in whole sectors, by address, never adjacent.

    It is the memory that is broken, so this outlives every device that the memory was part of.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Break a part."""
        self.parts = joined([*self.parts, (start, end)])

    def clear(self, start: int, end: int) -> None:
        """Mend a part."""
        cut = [piece for a, b in self.parts for piece in ((a, min(b, start)), (max(a, end), b))]
        self.parts = [(a, b) for a, b in cut if a < b]

    def of(self, ranges: Iterable[DaxRange]) -> list[tuple[int, int]]:
        """What is broken of a device with these ranges, as parts of the device."""
        if not self.parts:
            return []
        return joined(
            (max(start, piece.start) + shift, min(end, piece.end + 1) + shift)
            for piece in ranges
            for shift in (piece.pgoff * PAGE_SIZE - piece.start,)
            for start, end in self.parts
            if start <= piece.end and end > piece.start
        )
