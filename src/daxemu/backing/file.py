"""Files on a disk that stay: ``backend=file:/some/directory``, one for each device."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from daxemu.backing.store import BackingStore, Probe
from daxemu.errors import UsageError
from daxemu.units import format_size

__all__ = ["FileStore"]


class FileStore(BackingStore):
    """Ordinary files, by the names of their devices, in the directory ``where``.

    What programs store is in them when the session ends, however it ends; a region of the same
    size in a later session finds it again. One session at a time.
    """

    name = "file"
    persistent = True
    appends = True

    def __init__(self, where: str = "") -> None:
        super().__init__(where)
        if not where:
            raise UsageError("backend 'file' needs a directory: write backend=file:/path/of/a/directory")

    @classmethod
    def probe(cls, where: str = "") -> Probe:
        """Available in a directory that may be written to."""
        remedy = "write backend=file:/path/of/a/directory"
        if not where:
            return Probe(True, "in the directory that is named")
        if not where.startswith("/"):
            return Probe(False, f"{where!r} is no absolute path", remedy)
        if not Path(where).is_dir():
            return Probe(False, f"there is no directory {where}", f"mkdir {where}")
        if not os.access(where, os.W_OK | os.X_OK):
            return Probe(False, f"no right to make files in {where}", remedy)
        return Probe(True, where)

    def create(self, label: str, size: int) -> int:
        """Make the file, or open the one that is there. EBUSY: another device's. EINVAL: there with another size."""
        fd = self._open(label, os.O_CREAT)
        try:
            there = self.size(fd)
            if there not in (0, size):
                path, found = Path(self.where, label), format_size(there)
                raise OSError(errno.EINVAL, f"{path} is there with {found}; remove it, or make the device that large")
            self.resize(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def open(self, label: str) -> int | None:
        """Return the file that an earlier session left."""
        try:
            return self._open(label, 0)
        except FileNotFoundError:
            return None

    def open_parked(self, label: str) -> int | None:
        """Return what an earlier session parked: it is a file like the others."""
        return self.open(label)

    def _open(self, label: str, flags: int) -> int:
        path = Path(self.where, label.replace("/", "_"))
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise OSError(errno.EBUSY, f"{path} is another device's memory; name another directory") from None
        return fd

    def reserve(self, fd: int, size: int) -> None:
        """Take the space on the disk. ENOSPC, before anything is taken, if there is not so much."""
        space = os.fstatvfs(fd)
        if size - os.fstat(fd).st_blocks * 512 > space.f_bavail * space.f_frsize:
            raise OSError(errno.ENOSPC, f"{self.where} has no room for {format_size(size)}; name another directory")
        super().reserve(fd, size)
