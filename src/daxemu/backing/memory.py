"""Physical memory: what a range held is what its next owner finds, as on hardware."""

from __future__ import annotations

import os
from typing import NamedTuple

from daxemu._core import punch_hole
from daxemu.backing.store import BackingFile, BackingStore
from daxemu.kernel.device import DevDax
from daxemu.kernel.ranges import PAGE_SIZE, DaxRange

__all__ = ["DeviceMemory", "RegionMemory"]

_CHUNK = 1 << 20


class _Piece(NamedTuple):
    """``length`` bytes: at ``offset`` of a device, at ``start`` of its region."""

    offset: int
    start: int
    length: int


def _copy(source: int, source_at: int, target: int, target_at: int, length: int) -> None:
    """Copy what has been written in a part of a sparse file; holes stay as they are in the target."""
    at, end = source_at, source_at + length
    while at < end:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # no data behind this
            return
        hole = min(os.lseek(source, at, os.SEEK_HOLE), end) if at < end else end
        while at < hole:
            data = os.pread(source, min(_CHUNK, hole - at), at)
            if not data:  # the file has been cut under us
                return
            at += os.pwrite(target, data, at - source_at + target_at)


class RegionMemory:
    """The bytes of a region that no device owns. With ``scrub`` they are forgotten."""

    def __init__(self, store: BackingStore, *, scrub: bool) -> None:
        self.store = store
        self._scrub = scrub
        self._fd = -1

    def park(self, file: BackingFile, pieces: list[_Piece], region_size: int) -> None:
        """Keep what a device gives up."""
        if self._scrub or not pieces:
            return
        if self._fd < 0:
            self._fd = self.store.create("dax region", region_size)
        for piece in pieces:
            _copy(file.fd, piece.offset, self._fd, piece.start, piece.length)

    def fetch(self, file: BackingFile, pieces: list[_Piece]) -> None:
        """Hand what was kept to the next owner."""
        for piece in pieces if self._fd >= 0 else ():
            _copy(self._fd, piece.start, file.fd, piece.offset, piece.length)
            punch_hole(self._fd, piece.start, piece.length)

    def close(self) -> None:
        """The hardware is gone, and with it what it held."""
        if self._fd >= 0:
            self.store.destroy(self._fd)
            self._fd = -1


class DeviceMemory(BackingFile):
    """The memory of one device: a file that holds its ranges, one after the other."""

    def __init__(self, memory: RegionMemory, device: DevDax) -> None:
        super().__init__(memory.store.create(device.name, device.size), memory.store)
        self._memory = memory
        self._device = device
        self._held = _pieces(device, device.size)
        memory.fetch(self, self._held)

    def resize(self, size: int) -> None:
        """Change the size; what is given up stays in the region, what is gained comes from there."""
        before = sum(piece.length for piece in self._held)
        if size < before:
            self._memory.park(self, _behind(self._held, size), self._device.region.size)
            super().resize(size)
            self._held = _pieces(self._device, size)
        else:
            super().resize(size)
            self._held = _pieces(self._device, size)
            self._memory.fetch(self, _behind(self._held, before))


def _pieces(device: DevDax, size: int) -> list[_Piece]:
    """The first ``size`` bytes of a device, range by range."""

    def piece(part: DaxRange) -> _Piece:
        offset = part.pgoff * PAGE_SIZE
        return _Piece(offset, part.start - device.region.start, min(part.size, size - offset))

    return [piece(part) for part in device.ranges if part.pgoff * PAGE_SIZE < size]


def _behind(pieces: list[_Piece], size: int) -> list[_Piece]:
    """What of these pieces lies behind the first ``size`` bytes."""
    cut = [(max(size - piece.offset, 0), piece) for piece in pieces]
    return [
        _Piece(piece.offset + skip, piece.start + skip, piece.length - skip)
        for skip, piece in cut
        if skip < piece.length
    ]
