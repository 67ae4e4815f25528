"""The interface of a backing store."""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from daxemu._core import copy_changes, punch_hole

__all__ = ["BackingFile", "BackingStore", "Probe", "copy_written"]

_CHUNK = 1 << 20
_FICLONE = 0x40049409


class Probe(NamedTuple):
    """Whether a store works on this machine; if so, how; if not, why, and what would help."""

    available: bool
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.available:
            return f"available: {self.reason}" if self.reason else "available"
        return f"{self.reason}; {self.remedy}"


class BackingFile:
    """The memory behind one device: an open file of the device's size.

    Its inode is the unified inode: every mapping of the device, in whatever process, is a mapping of it.
    """

    def __init__(self, fd: int, store: BackingStore) -> None:
        self.fd = fd
        self._store = store

    @property
    def identity(self) -> tuple[int, int]:
        """(st_dev, st_ino), by which a descriptor or mapping of it is recognised anywhere."""
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

    @property
    def movable(self) -> bool:
        """Can mappings be moved within it?"""
        return self._store.movable

    def resize(self, size: int) -> None:
        """Change the size in bytes. What is cut off vanishes from every mapping: SIGBUS on the next touch."""
        self._store.resize(self.fd, size)

    @property
    def bytes_fd(self) -> int:
        """The file that has the bytes just now."""
        return self.fd

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._store.size(self.bytes_fd)

    def clone(self, label: str) -> BackingFile:
        """Return a file of its own with the same bytes."""
        return BackingFile(self._store.clone(self.bytes_fd, label), self._store)

    def restore(self, source: BackingFile) -> int:
        """Make the bytes those of another file of the same size; return how many were written or emptied."""
        return self._store.restore(source.bytes_fd, self.bytes_fd)

    def close(self) -> None:
        """Give the memory back, once nobody maps it any more."""
        if self.fd >= 0:
            self._store.destroy(self.fd)
            self.fd = -1


class BackingStore(ABC):
    """A way to keep devices' bytes. Subclass it and return the class from ``daxemu_register_backends``.

    ``name`` is what users write; of ``backend=name:where`` the class gets ``where``. ``page_size``
    is the unit of the store's page tables in bytes: devices of a smaller alignment are refused.
    ``reserves``: memory for all of a device is taken when it is made, whether the region asks for
    it or not. ``map_sync``: the files can be mapped with MAP_SYNC, and are when a program asks for
    it. ``persistent``: what is written outlives the session. ``appends``: ``copy`` can write behind
    the target's end, which grows by it. ``movable``: mappings can be moved within the file
    (remap_file_pages); else revoking a device costs a copy.
    """

    name: ClassVar[str]
    page_size: int = 4096
    reserves: bool = False
    persistent: bool = False
    appends: bool = False
    movable: bool = True

    def __init__(self, where: str = "") -> None:
        self.where = where

    @classmethod
    @abstractmethod
    def probe(cls, where: str = "") -> Probe:
        """Tell whether the store works here, and there, without changing anything."""

    @abstractmethod
    def create(self, label: str, size: int) -> int:
        """Return a descriptor, open for reading and writing, of a new file of ``size`` zero bytes.

        ``label`` is for people who look into /proc; no other file in use has it. Raises OSError
        (ENOSPC, ENOMEM) if there is no room.
        """

    def size(self, fd: int) -> int:
        """Bytes of a file."""
        return os.fstat(fd).st_size

    def resize(self, fd: int, size: int) -> None:
        """Change a file's size in bytes."""
        os.ftruncate(fd, size)

    def reserve(self, fd: int, size: int) -> None:
        """Take memory for the first ``size`` bytes, so that no touch of them ever lacks it. ENOSPC, ENOMEM."""
        if size:
            os.posix_fallocate(fd, 0, size)

    def open(self, label: str) -> int | None:  # noqa: ARG002
        """Return the file that ``create`` made for this label in an earlier session, None if there is none."""
        return None

    def park(self, label: str, size: int) -> int:
        """Return a file for what devices give up, ``size`` bytes of mostly nothing."""
        return self.create(label, size)

    def open_parked(self, label: str) -> int | None:  # noqa: ARG002
        """Return the file that ``park`` made for this label in an earlier session, None if there is none."""
        return None

    def copy(self, source: int, source_at: int, target: int, target_at: int, length: int) -> None:
        """Copy ``length`` bytes between files. What was never written may be left out: the target is zero there."""
        copy_written(source, source_at, target, target_at, length)

    def discard(self, fd: int, offset: int, length: int) -> None:
        """Make bytes zero and give their memory back."""
        punch_hole(fd, offset, length)

    def clone(self, fd: int, label: str) -> int:
        """Return a new file with the same bytes: sharing them where the file system can, else by a copy."""
        size = self.size(fd)
        twin = self.create(label, size)
        try:
            if not _share(fd, twin):
                self.copy(fd, 0, twin, 0, size)
        except BaseException:
            self.destroy(twin)
            raise
        return twin

    def restore(self, source: int, target: int) -> int:
        """Make a file equal to another of the same size, writing only where they differ; return how many bytes."""
        return copy_changes(source, target, self.size(source))

    def destroy(self, fd: int) -> None:
        """Close a file that ``create`` or ``clone`` made and free its memory."""
        os.close(fd)


def copy_written(source: int, source_at: int, target: int, target_at: int, length: int) -> None:
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


def _share(source: int, target: int) -> bool:
    """Have two files share their bytes until one is written (reflink); false where that cannot be."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
