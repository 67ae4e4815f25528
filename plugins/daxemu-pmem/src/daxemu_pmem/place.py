"""Where persistent memory is on this machine: mounts with -o dax, and real device-DAX."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

__all__ = ["DaxDirectory", "DaxFile", "Place", "RealDevice", "dax_mounts", "find_place"]

_MAP_SHARED_VALIDATE, _MAP_SYNC = 0x03, 0x80000


def dax_mounts() -> list[str]:
    """Directories where a file system is mounted with -o dax."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, at, _, options = line.split()[:4]
        if {"dax", "dax=always"} & set(options.split(",")):
            found.append(at.replace("\\040", " "))
    return found


def _check_map_sync(fd: int, path: str) -> None:
    """Raise OSError unless the file can be mapped with MAP_SYNC."""
    try:
        mmap.mmap(fd, mmap.PAGESIZE, flags=_MAP_SHARED_VALIDATE | _MAP_SYNC).close()
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise OSError(
            errno.EOPNOTSUPP,
            f"files in {path} cannot be mapped with MAP_SYNC: its file system is not on pmem with -o dax",
        ) from error


class DaxDirectory:
    """A directory on an fs-dax mount: files without a name, whose bytes go with the device."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.page_size = mmap.PAGESIZE
        self.persistent = False

    def open(self) -> int:
        """Return a new file."""
        return os.open(self.path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def check(self) -> None:
        """Raise OSError where it cannot be used."""
        fd = self.open()
        try:
            os.ftruncate(fd, mmap.PAGESIZE)
            _check_map_sync(fd, self.path)
        finally:
            os.close(fd)


class DaxFile:
    """A file on an fs-dax mount, made when it is not there: its bytes stay for the next session."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.page_size = mmap.PAGESIZE
        self.persistent = True

    def open(self) -> int:
        """Return the file, old or new."""
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def check(self) -> None:
        """Raise OSError where it cannot be used."""
        path = Path(self.path)
        if path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            raise OSError(errno.EACCES, f"{self.path} is no file that may be written")
        DaxDirectory(str(path.parent)).check()


class RealDevice:
    """A whole device-DAX of this machine."""

    def __init__(self, path: str) -> None:
        self.path = path
        rdev = Path(path).stat().st_rdev
        self._sysfs = Path(f"/sys/dev/char/{os.major(rdev)}:{os.minor(rdev)}")
        self.persistent = True

    @property
    def size(self) -> int:
        """Bytes."""
        return int((self._sysfs / "size").read_text())

    @property
    def page_size(self) -> int:
        """Bytes: its alignment."""
        return int((self._sysfs / "align").read_text())

    def open(self) -> int:
        """Return a descriptor of it."""
        return os.open(self.path, os.O_RDWR | os.O_CLOEXEC)

    def check(self) -> None:
        """Raise OSError where it cannot be used."""
        if (self._sysfs / "subsystem").resolve().name != "dax":
            raise OSError(errno.ENODEV, f"{self.path} is no device-DAX")
        os.close(self.open())


Place = DaxDirectory | DaxFile | RealDevice


def find_place(where: str) -> Place:
    """What the text behind ``pmem:`` means. Raises OSError where that is not there."""
    if not where.startswith("/"):
        raise OSError(errno.ENOENT, f"{where!r} is no absolute path")
    path = Path(where)
    if path.is_dir():
        return DaxDirectory(where)
    if path.parent == Path("/dev") and not path.exists():
        raise OSError(errno.ENOENT, f"there is no {where}: this machine has no such device")
    return RealDevice(where) if path.is_char_device() else DaxFile(where)
