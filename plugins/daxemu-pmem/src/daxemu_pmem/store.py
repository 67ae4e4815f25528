"""The store: real persistent memory."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from daxemu.backing import BackingStore, Probe
from daxemu.units import format_size
from daxemu_pmem.mapped import copy_mapped
from daxemu_pmem.place import Place, RealDevice, dax_mounts, find_place

__all__ = ["PmemStore"]

_ZEROS = bytes(1 << 20)
_REMEDY = "mount a file system with -o dax and write backend=pmem:DIRECTORY, pmem:FILE, or pmem:/dev/daxX.Y"


class PmemStore(BackingStore):
    """Real persistent memory, mapped with MAP_SYNC.

    ``where`` is a directory of an fs-dax mount, for devices whose bytes go with them; a file
    there, whose bytes stay for the next session; or a whole device-DAX of the machine, likewise.
    A file has all its blocks written before it is used, so that a store that was flushed needs
    nothing from the file system to be durable.
    """

    name = "pmem"
    reserves = True

    def __init__(self, where: str = "") -> None:
        super().__init__(where)
        self._place: Place = find_place(where)
        self.page_size = self._place.page_size
        self.persistent = self._place.persistent

    @classmethod
    def probe(cls, where: str = "") -> Probe:
        """Available where files can be mapped with MAP_SYNC, or on a device-DAX that may be opened."""
        if not where:
            mounts = ", ".join(dax_mounts())
            reason = f"say where: -o dax is mounted at {mounts}" if mounts else "no file system is mounted with -o dax"
            return Probe(False, reason, _REMEDY)
        try:
            place = find_place(where)
            place.check()
        except PermissionError:
            return Probe(False, f"no right to use {where}", "run as root, or have it given to you with chown")
        except OSError as error:
            return Probe(False, error.strerror or str(error), _REMEDY)
        return Probe(True, f"{type(place).__name__}, MAP_SYNC")

    def create(self, label: str, size: int) -> int:  # noqa: ARG002 - files are known by their place
        """Make a file, or open the one that is there, for one device at a time.

        EBUSY: it is another device's. EINVAL: it is there with another size.
        """
        fd = self._take()
        try:
            there = self.size(fd)
            if there and there != size:
                has = format_size(there)
                raise OSError(errno.EINVAL, f"{self.where} has {has}; make the region size={has}")
            self.resize(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def size(self, fd: int) -> int:
        """Bytes of a file, or of the real device."""
        if isinstance(self._place, RealDevice) and stat.S_ISCHR(os.fstat(fd).st_mode):
            return self._place.size
        return super().size(fd)

    def open(self, label: str) -> int | None:  # noqa: ARG002 - known by its place
        """Return what an earlier session left, if that is what stays here."""
        if not self.persistent or not os.access(self.where, os.F_OK):
            return None
        return self._take()

    def _take(self) -> int:
        """Open it, for this device alone."""
        fd = self._place.open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise OSError(errno.EBUSY, f"{self.where} is another emulated device's memory") from None
        return fd

    def resize(self, fd: int, size: int) -> None:
        """Change a file's size. EINVAL: a real device has the size that it has."""
        if not isinstance(self._place, RealDevice):
            super().resize(fd, size)
        elif size not in (0, self.size(fd)):
            raise OSError(errno.EINVAL, f"{self.where} has {format_size(self.size(fd))} and cannot be resized")

    def reserve(self, fd: int, size: int) -> None:
        """Write every block that never was, and have the file system know of it. ENOSPC if there are not so many."""
        if size == 0 or isinstance(self._place, RealDevice):
            return
        space = os.fstatvfs(fd)
        if size - os.fstat(fd).st_blocks * 512 > space.f_bavail * space.f_frsize:
            raise OSError(errno.ENOSPC, f"{self.where} has no room for {format_size(size)}")
        at = os.lseek(fd, 0, os.SEEK_HOLE)
        while at < size:
            at += os.pwrite(fd, _ZEROS[: size - at], at)
            at = os.lseek(fd, at, os.SEEK_HOLE) if at < size else size
        os.fsync(fd)

    def copy(self, source: int, source_at: int, target: int, target_at: int, length: int) -> None:
        """Copy bytes between files: a real device is mapped, for it has neither read nor write."""
        if isinstance(self._place, RealDevice):
            copy_mapped(source, source_at, target, target_at, length)
        else:
            super().copy(source, source_at, target, target_at, length)

    def clone(self, fd: int, label: str) -> int:
        """Return a file with the same bytes; of a whole device, a file in memory."""
        if not self.persistent:
            return super().clone(fd, label)
        size = self.size(fd)
        twin = self.park(label, size)
        try:
            self.copy(fd, 0, twin, 0, size)
        except BaseException:
            os.close(twin)
            raise
        return twin

    def restore(self, source: int, target: int) -> int:
        """Make a file's bytes those of another."""
        if not isinstance(self._place, RealDevice):
            return super().restore(source, target)
        size = self.size(target)
        copy_mapped(source, 0, target, 0, size)
        return size

    def park(self, label: str, size: int) -> int:
        """Return an ordinary memory file: what devices give up is nobody's data any more."""
        fd = os.memfd_create(label)
        os.ftruncate(fd, size)
        return fd
