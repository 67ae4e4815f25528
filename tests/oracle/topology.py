"""The machines that are compared: how the kernel is told of the memory, and how daxemu is."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["TOPOLOGIES", "Topology"]

M, G = 1 << 20, 1 << 30


class Topology(NamedTuple):
    """One machine: the same regions for both sides, with ``dax0.0`` of ``size`` bytes at ``align``.

    ``parameters`` go on the kernel's command line, ``memory`` is the virtual machine's, in GiB;
    ``namespace_align`` is what a raw namespace is made into a devdax one with; ``regions`` are
    those of ``daxemu run --region``.
    """

    name: str
    align: int
    size: int
    memory: int
    parameters: str
    regions: tuple[str, ...]
    namespace_align: int = 0

    @property
    def dynamic(self) -> bool:
        """Devices are created and resized."""
        return not self.namespace_align


def _pmem(name: str, align: int, size: int, start: int, raw: str, memory: int) -> Topology:
    region = f"provider=pmem,size={size},align={align},start={start:#x}"
    return Topology(name, align, size, memory, f"memmap={raw}!4G", (region,), align)


# Sizes and starts of namespaces are what info block and page map leave of them.
_ALL = (
    Topology(
        "hmem",
        align=2 * M,
        size=G,
        memory=10,
        parameters="memmap=1G%5G-1+0xefffffff memmap=64M%8G-1+0xefffffff",
        regions=(
            "provider=hmem,size=1G,start=0x140000000,driver=auto",
            "provider=hmem,size=64M,start=0x200000000,driver=auto",
        ),
    ),
    _pmem("pmem4K", 4096, 250 * M, 4 * G + 6 * M, "256M", memory=6),
    _pmem("pmem2M", 2 * M, 250 * M, 4 * G + 6 * M, "256M", memory=6),
    _pmem("pmem1G", G, 5 * G, 5 * G, "6G", memory=10),
)
TOPOLOGIES = {topology.name: topology for topology in _ALL}
