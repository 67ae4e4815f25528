"""Physical memory: what a range held is what its next owner finds, as on hardware."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    """The ``size`` bytes from ``start`` on that no device owns. With ``scrub`` they are forgotten.

    ``reserve``: devices take the memory for all of their bytes when they are made. ``restoring``:
    devices are made again that an earlier session had, with its files.
    """

    def __init__(
        self, store: BackingStore, label: str, start: int, size: int, *, scrub: bool = False, reserve: bool = False
    ) -> None:
        self.store = store
        self.label = label
        self.start = start
        self.size = size
        self.scrub = scrub
        self.reserve = reserve
        self.restoring = False
        self.abandoned = False  # about to be removed: nothing needs to be kept any more
        self.unplugged = False  # pulled out, but to return: everything is kept
        self._fd = -1
        self._early: dict[int, bytes] = {}  # what is written before there is a file

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Meanwhile all that is given up is kept, whether or not it is scrubbed else."""
        before, self.unplugged = self.unplugged, True
        try:
            yield
        finally:
            self.unplugged = before

    def restore(self) -> None:
        """Devices are about to be made that were there before."""
        self.restoring = True
        left = self.store.open_parked(self.label)
        self._fd = -1 if left is None else left

    @property
    def fd(self) -> int:
        """The file of ``size`` bytes that holds them."""
        if self._fd < 0:
            fd = self.store.park(self.label, self.size)
            for offset, data in self._early.items():
                os.pwrite(fd, data, offset)
            self._fd = fd
        return self._fd

    @property
    def identity(self) -> tuple[int, int]:
        """(st_dev, st_ino) of that file."""
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

    def read(self, offset: int, size: int) -> bytes:
        """Bytes that no device owns; zero where nothing was ever written."""
        if self._fd < 0 and offset in self._early:
            return self._early[offset][:size]
        return os.pread(self._fd, size, offset) if self._fd >= 0 else bytes(size)

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes that no device owns. No file is made just for that, unless it is one that stays."""
        if self._fd < 0 and not self.store.persistent:
            self._early[offset] = data
        else:
            with _refusals(self.store):
                os.pwrite(self.fd, data, offset)

    def park(self, file: BackingFile, pieces: list[_Piece]) -> None:
        """Keep what a device is about to give up. On failure nobody has it but the device."""
        if (self.scrub and not self.unplugged) or self.abandoned or not pieces:
            return
        with ExitStack() as undo:
            undo.callback(self._forget, pieces)
            for piece in pieces:
                self.store.copy(file.fd, piece.offset, self.fd, piece.start, piece.length)
            undo.pop_all()

    def fetch(self, file: BackingFile, pieces: list[_Piece]) -> None:
        """Hand what was kept to the next owner."""
        if self._fd < 0:
            return
        for piece in pieces:
            self.store.copy(self._fd, piece.start, file.fd, piece.offset, piece.length)
        if not self.store.persistent:  # there they are overwritten at last, and until then what a crash needs
            self._forget(pieces)

    def _forget(self, pieces: list[_Piece]) -> None:
        for piece in pieces:
            self.store.discard(self._fd, piece.start, piece.length)

    def make(self, label: str, size: int) -> tuple[int, bool]:
        """Make a file for a device, or open the one that an earlier session left with its bytes; was it there?"""
        if self.store.persistent and (left := self.store.open(label)) is not None:
            if self.restoring or self.store.size(left) == size:
                return left, size > 0
            self.store.destroy(left)
        fd = self.store.create(label, size)
        try:
            self.ensure(fd, size)
        except BaseException:
            self.store.destroy(fd)
            raise
        return fd, False

    def ensure(self, fd: int, size: int) -> None:
        """Take memory for all of a device's file, if that is how devices are here."""
        if self.reserve or self.store.reserves:
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
            fd, left = memory.make(device.name, device.size)
            super().__init__(fd, memory.store)
            self._memory = memory
            self._device = device
            self._held = _pieces(device, device.size, memory.start)
            self._aside = -1
            try:
                if memory.restoring and device.size:
                    self.recover()
                elif not (memory.restoring or left):
                    memory.fetch(self, self._held)
            except BaseException:
                self.close()
                raise

    def recover(self) -> None:
        """Be as the earlier session's last word was, though it may have ended in the middle of a change.

        What it had begun to give up is in the region's file, what it had begun to gain is there still.
        """
        there, size = self.size, self._device.size
        super().resize(size)
        self._memory.ensure(self.fd, size)
        self._memory.fetch(self, _behind(self._held, min(there, size)))

    def resize(self, size: int) -> None:
        """Change the size; what is given up stays in the region, what is gained comes from there."""
        if self._memory.restoring:  # its file is there; ``recover`` looks at it when all ranges are known
            self._held = _pieces(self._device, size, self._memory.start)
            return
        before = sum(piece.length for piece in self._held)
        withdrawn = self._aside >= 0
        self.give_back()
        with _refusals(self._memory.store):
            if size < before:
                self._memory.park(self, _behind(self._held, size))
                if not (self._memory.abandoned and self._memory.store.persistent):
                    super().resize(size)
                self._held = _pieces(self._device, size, self._memory.start)
            else:
                self._grow(before, size)
        if withdrawn:
            self.withdraw()

    def _grow(self, before: int, size: int) -> None:
        super().resize(size)
        try:
            self._memory.ensure(self.fd, size)
            held = _pieces(self._device, size, self._memory.start)
            self._memory.fetch(self, _behind(held, before))
        except BaseException:
            super().resize(before)
            raise
        self._held = held

    @property
    def bytes_fd(self) -> int:
        """The file that has the bytes just now."""
        return self.fd if self._aside < 0 else self._aside

    # -- when a process cannot be told ----------------------------------------------------------

    def withdraw(self) -> None:
        """Take the bytes away from under the mappings of a dead device: touching them is SIGBUS, told or not.

        A process that stands still, or whose mappings cannot be moved, must not go on with a device
        that is dead. It costs a copy, so it is not the way for everybody. Bytes that outlive the
        session stay where they are: nobody knows how it will end. ENOSPC, ENOMEM: no room for it.
        """
        if self._aside >= 0 or self._memory.store.persistent:
            return
        store, size = self._memory.store, 0 if self._memory.abandoned else self.size
        with _refusals(store), ExitStack() as undo:
            aside = store.park(f"{self._device.name} aside", size)
            undo.callback(store.destroy, aside)
            store.copy(self.fd, 0, aside, 0, size)
            super().resize(0)
            undo.pop_all()
        self._aside = aside

    def give_back(self) -> None:
        """Undo ``withdraw``. ENOSPC, ENOMEM: no room for it; nothing is lost."""
        if self._aside < 0:
            return
        store, size = self._memory.store, self.size
        with _refusals(store), ExitStack() as undo:
            undo.callback(super().resize, 0)
            if not store.appends:
                super().resize(size)
            store.copy(self._aside, 0, self.fd, 0, size)
            super().resize(size)
            self._memory.ensure(self.fd, size)
            undo.pop_all()
        store.destroy(self._aside)
        self._aside = -1

    def close(self) -> None:
        """Give the memory back. Mappings that somebody still has become SIGBUS."""
        if self._aside >= 0:
            self._memory.store.destroy(self._aside)
            self._aside = -1
        super().close()


def _pieces(device: DevDax, size: int, start: int) -> list[_Piece]:
    """The first ``size`` bytes of a device, range by range; ``start`` is where its region's memory begins."""

    def piece(part: DaxRange) -> _Piece:
        offset = part.pgoff * PAGE_SIZE
        return _Piece(offset, part.start - start, min(part.size, size - offset))

    return [piece(part) for part in device.ranges if part.pgoff * PAGE_SIZE < size]


def _behind(pieces: list[_Piece], size: int) -> list[_Piece]:
    """What of these pieces lies behind the first ``size`` bytes."""
    cut = [(max(size - piece.offset, 0), piece) for piece in pieces]
    return [
        _Piece(piece.offset + skip, piece.start + skip, piece.length - skip)
        for skip, piece in cut
        if skip < piece.length
    ]
