"""The kernel's pools of huge pages."""

from __future__ import annotations

import os
from pathlib import Path

from daxemu.units import format_size

__all__ = ["Pool"]

_POOLS = Path("/sys/kernel/mm/hugepages")


class Pool:
    """The huge pages of one size; ``page_size`` in bytes."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.path = _POOLS / f"hugepages-{page_size >> 10}kB"

    def _count(self, name: str) -> int:
        try:
            return int((self.path / name).read_text())
        except FileNotFoundError:
            return 0

    @property
    def exists(self) -> bool:
        """Does this machine have pages of this size at all?"""
        return self.path.is_dir()

    def pages(self) -> int:
        """How many there are, or may be."""
        return self._count("nr_hugepages") + self._may_come()

    def _may_come(self) -> int:
        return max(self._count("nr_overcommit_hugepages") - self._count("surplus_hugepages"), 0)

    def free(self) -> int:
        """How many nobody has, nor been promised."""
        return max(self._count("free_hugepages") - self._count("resv_hugepages"), 0) + self._may_come()

    def remedy(self, more: int) -> str:
        """What makes the pool larger by so many pages."""
        wanted = self._count("nr_hugepages") + more
        if self.page_size == os.sysconf("SC_PAGE_SIZE") * 512:
            return f"as root: sysctl vm.nr_hugepages={wanted}"
        return f"as root: echo {wanted} > {self.path}/nr_hugepages"

    def shortage(self, needed: int) -> str:
        """Say that ``needed`` pages are not to be had, and what would help."""
        free, size = self.free(), format_size(self.page_size)
        return f"{needed} huge pages of {size} are needed and {free} are free; {self.remedy(max(needed - free, 1))}"
