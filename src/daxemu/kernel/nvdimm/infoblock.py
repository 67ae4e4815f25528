"""The info block: how a namespace remembers, in its own first bytes, that it is a devdax one."""

from __future__ import annotations

import errno
import struct
from itertools import accumulate
from typing import NamedTuple

from daxemu.errors import KernelError
from daxemu.kernel.region import SUBSECTION_SIZE

__all__ = ["INFO_OFFSET", "INFO_SIZE", "InfoBlock", "Layout", "lay_out", "raw_size_for"]

INFO_OFFSET = 4096
INFO_SIZE = 4096
PAGE_SIZE = 4096
PAGE_STRUCT_SIZE = 64
RESERVED = 8192  # label area and info block, before the page map

_SIGNATURE = b"NVDIMM_DAX_INFO\0"
_MODES = {"ram": 1, "pmem": 2}  # where the page map is: in ordinary memory, or in the namespace itself
# signature, uuid, parent's uuid; flags, version, data offset, pages; mode, start pad, end cut, align, page sizes
_FIELDS = struct.Struct("<16s16s16sIHHQQIIIIIH")
_VERSION = (1, 4)


class Layout(NamedTuple):
    """Where the data of a namespace are: from ``offset``, ``size`` bytes; ``cut`` bytes at its end are unused."""

    offset: int
    size: int
    cut: int


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def lay_out(start: int, raw: int, align: int, mode: str = "pmem") -> Layout:
    """Divide a namespace of ``raw`` bytes at physical address ``start``.

    Info block and page map (64 bytes for each page) come first, the data follow at a multiple of
    max(align, 2 MiB); the end is cut to such a multiple too. ENXIO: nothing would be left.
    """
    unit = max(align, SUBSECTION_SIZE)
    map_size = PAGE_STRUCT_SIZE * ((raw - RESERVED) // PAGE_SIZE) if mode == "pmem" else 0
    offset = _round_up(start + RESERVED + map_size, unit) - start
    cut = (start + raw) % unit
    if offset + cut >= raw:
        raise KernelError(
            errno.ENXIO,
            f"{raw} bytes are too few for a namespace with a device aligned to {align}: its info block and page map "
            f"take the first {offset}; give raw={offset + unit} or more",
        )
    return Layout(offset, raw - offset - cut, cut)


def raw_size_for(size: int, align: int) -> Layout:
    """The inverse: how a namespace is divided whose data are ``size`` bytes from a multiple of ``align`` on."""
    unit = max(align, SUBSECTION_SIZE)
    cut = -size % SUBSECTION_SIZE  # the kernel itself makes devices of whole 2 MiB only
    offset = 0
    while True:
        pages = (offset + size + cut - RESERVED) // PAGE_SIZE
        wanted = _round_up(RESERVED + PAGE_STRUCT_SIZE * max(pages, 0), unit)
        if wanted == offset:
            return Layout(offset, size, cut)
        offset = wanted


class InfoBlock(NamedTuple):
    """What the block says. ``uuid`` is 16 bytes, sizes are bytes."""

    uuid: bytes
    mode: str
    align: int
    layout: Layout

    def pack(self) -> bytes:
        """The block as it lies in memory, checksum included."""
        offset, size, cut = self.layout
        head = _FIELDS.pack(
            _SIGNATURE,
            self.uuid,
            bytes(16),
            0,
            *_VERSION,
            offset,
            size // PAGE_SIZE,
            _MODES[self.mode],
            0,
            cut,
            self.align,
            PAGE_SIZE,
            PAGE_STRUCT_SIZE,
        )
        body = head.ljust(INFO_SIZE - 8, b"\0")
        return body + struct.pack("<Q", _checksum(body))

    @classmethod
    def unpack(cls, block: bytes) -> InfoBlock | None:
        """Read a block; None where there is none, or a damaged one."""
        if len(block) < INFO_SIZE or not block.startswith(_SIGNATURE):
            return None
        if struct.unpack("<Q", block[-8:])[0] != _checksum(block[:-8]):
            return None
        _, uuid, _, _, _, _, offset, pages, mode, _, cut, align, _, _ = _FIELDS.unpack_from(block)
        names = {number: name for name, number in _MODES.items()}
        return cls(uuid, names.get(mode, "none"), align, Layout(offset, pages * PAGE_SIZE, cut))


def _checksum(body: bytes) -> int:
    """Fletcher's, 64 bits over 32-bit words: of the block without its sum, which is mostly zeros."""
    words = -(-len(body.rstrip(b"\0")) // 4)
    sums = list(accumulate(struct.unpack_from(f"<{words}I", body)))
    rest = INFO_SIZE // 4 - words  # the sum's own field counts as zero
    low, high = sums[-1], sum(sums) + sums[-1] * rest
    return int((high & 0xFFFFFFFF) << 32 | low & 0xFFFFFFFF)
