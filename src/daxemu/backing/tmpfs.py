"""The default store: files in memory, with huge pages where this user may have them.

A tmpfs that is mounted nowhere, or else memfds: neither has a name that could be left behind, nor
is bound by the size of /dev/shm, which is 64 MiB in a container.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from itertools import count
from pathlib import Path

from daxemu._core import huge_tmpfs
from daxemu.backing.store import BackingStore, Probe
from daxemu.errors import UsageError
from daxemu.units import format_size

__all__ = ["TmpfsStore"]

_ADDRESSABLE = 64 << 40  # 46 bits of physical address
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_KINDS = ("", "huge", "memfd")
_numbers = count()  # threads make files of one label at the same time


def _memory_left() -> int:
    """Bytes that this machine or container could give to files in memory now, swap included."""
    info = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    left = sum(int(info[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    for limit, used in _CGROUPS:
        try:
            left = min(left, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such controller, or "max"
            continue
    return left


@cache
def _huge_mount() -> int:
    """A directory whose files have huge pages, made once in a process. Raises OSError where that is not allowed."""
    return huge_tmpfs()


def _why_not_huge() -> str:
    """Why there is none; empty if there is."""
    try:
        _huge_mount()
    except OSError as error:
        return error.strerror or str(error)
    return ""


class TmpfsStore(BackingStore):
    """Memory files. Sparse: a device takes memory only where it was touched.

    ``where`` is ``huge`` to insist on huge pages, ``memfd`` to have none.
    """

    name = "tmpfs"
    appends = True

    @classmethod
    def probe(cls, where: str = "") -> Probe:
        """Available wherever memfd_create(2) is; tells whether there are huge pages."""
        if where not in _KINDS:
            return Probe(False, f"tmpfs has no {where!r}", "write tmpfs, tmpfs:huge or tmpfs:memfd")
        obstacle = "not asked for" if where == "memfd" else _why_not_huge()
        if not obstacle:
            return Probe(True, "huge pages")
        if where == "huge":
            return Probe(False, obstacle, "run as root, or allow user namespaces")
        try:
            os.close(os.memfd_create("daxemu-probe"))
        except OSError as error:
            return Probe(
                False, f"memfd_create: {error.strerror}", "allow memfd_create in the container's seccomp filter"
            )
        return Probe(True, f"memfd, no huge pages: {obstacle}")

    def __init__(self, where: str = "") -> None:
        super().__init__(where)
        if where not in _KINDS:
            raise UsageError(f"backend 'tmpfs:{where}': write tmpfs, tmpfs:huge or tmpfs:memfd")

    def create(self, label: str, size: int) -> int:
        """Make a file. ENOMEM for a size that no machine could address."""
        self._check(size)
        fd = self._open(label)
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _open(self, label: str) -> int:
        if self.where == "memfd" or (not self.where and _why_not_huge()):
            return os.memfd_create(label)
        mount = _huge_mount()
        name = f"{label}.{os.getpid()}.{next(_numbers)}"  # a forked child has the same mount
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=mount)
        os.unlink(name, dir_fd=mount)
        os.fchmod(fd, 0o777)  # as memfds are: whoever gets the descriptor may use it
        return fd

    def resize(self, fd: int, size: int) -> None:
        """Change a file's size. ENOMEM as for ``create``."""
        self._check(size)
        super().resize(fd, size)

    def reserve(self, fd: int, size: int) -> None:
        """Take memory now. ENOSPC, before anything is taken, if there is not so much."""
        missing = size - os.fstat(fd).st_blocks * 512
        left = _memory_left()
        if missing > left:
            raise OSError(
                errno.ENOSPC,
                f"{format_size(size)} to be reserved, but only {left >> 20}M of memory are left; "
                "ask for less, or without reserve",
            )
        super().reserve(fd, size)

    @staticmethod
    def _check(size: int) -> None:
        if size > _ADDRESSABLE:
            raise OSError(
                errno.ENOMEM,
                f"{format_size(size)} is more than the {_ADDRESSABLE >> 40}T that a machine addresses; "
                "ask for a smaller size",
            )
