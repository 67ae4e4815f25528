"""Physical memory: what a range held is what its next owner finds, as on hardware."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from daxemu.backing.store import BackingFile, BackingStore
from daxemu.errors import KernelError
from daxemu.kernel.device import DevDax
from daxemu.kernel.ranges import PAGE_SIZE, DaxRange

__all__ = ["DeviceMemory", "RegionMemory"]


class _Piece(NamedTuple):
    """``length`` bytes: at ``offset`` of a device, at ``start`` of its region."""

    offset: int
    start: int
    length: int


@contextmanager
def _refusals(store: BackingStore) -> Iterator[None]:
    """What a store refuses, the kernel refuses."""
    try:
        yield
    except KernelError:
        raise
    except OSError as error:
        raise KernelError(error.errno or errno.ENOMEM, f"backend {store.name!r}: {error.strerror}") from error


class RegionMemory:
    """The bytes of a region that no device owns. With ``scrub`` they are forgotten.

    ``reserve``: devices take the memory for all of their bytes when they are made.
    """

    def __init__(self, store: BackingStore, *, scrub: bool, reserve: bool = False) -> None:
        self.store = store
        self._scrub = scrub
        self._reserves = reserve or store.reserves
        self._fd = -1

    def park(self, file: BackingFile, pieces: list[_Piece], region_size: int) -> None:
        """Keep what a device gives up."""
        if self._scrub or not pieces:
            return
        if self._fd < 0:
            self._fd = self.store.park(region_size)
        for piece in pieces:
            self.store.copy(file.fd, piece.offset, self._fd, piece.start, piece.length)

    def fetch(self, file: BackingFile, pieces: list[_Piece]) -> None:
        """Hand what was kept to the next owner."""
        if self._fd < 0:
            return
        for piece in pieces:
            self.store.copy(self._fd, piece.start, file.fd, piece.offset, piece.length)
        for piece in pieces:  # when all have arrived: until then this is where they are
            self.store.discard(self._fd, piece.start, piece.length)

    def make(self, label: str, size: int) -> int:
        """Make a file for a device."""
        fd = self.store.create(label, size)
        try:
            self.ensure(fd, size)
        except BaseException:
            self.store.destroy(fd)
            raise
        return fd

    def ensure(self, fd: int, size: int) -> None:
        """Take memory for all of a device's file, if that is how devices are here."""
        if self._reserves:
            self.store.reserve(fd, size)

    def close(self) -> None:
        """The hardware is gone, and with it what it held."""
        if self._fd >= 0:
            self.store.destroy(self._fd)
            self._fd = -1


class DeviceMemory(BackingFile):
    """The memory of one device: a file that holds its ranges, one after the other."""

    def __init__(self, memory: RegionMemory, device: DevDax) -> None:
        with _refusals(memory.store):
            super().__init__(memory.make(device.name, device.size), memory.store)
            self._memory = memory
            self._device = device
            self._held = _pieces(device, device.size)
            try:
                memory.fetch(self, self._held)
            except BaseException:
                self.close()
                raise

    def resize(self, size: int) -> None:
        """Change the size; what is given up stays in the region, what is gained comes from there."""
        before = sum(piece.length for piece in self._held)
        with _refusals(self._memory.store):
            if size < before:
                self._memory.park(self, _behind(self._held, size), self._device.region.size)
                super().resize(size)
                self._held = _pieces(self._device, size)
            else:
                self._grow(before, size)

    def _grow(self, before: int, size: int) -> None:
        super().resize(size)
        try:
            self._memory.ensure(self.fd, size)
            held = _pieces(self._device, size)
            self._memory.fetch(self, _behind(held, before))
        except BaseException:
            super().resize(before)
            raise
        self._held = held


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
