"""The default store: anonymous files in memory (memfd).

A memfd has no name that could be left behind, needs no mount and no right, and is not bound by
the size of /dev/shm, which is 64 MiB in a container.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from daxemu.backing.store import BackingStore, Probe
from daxemu.units import format_size

__all__ = ["TmpfsStore"]

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def _memory_limit() -> int:
    """Bytes that this machine or container could ever give to files in memory, swap included."""
    info = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    limit = sum(int(info[name].split()[0]) * 1024 for name in ("MemTotal", "SwapTotal"))
    for path in _CGROUP_LIMITS:
        try:
            limit = min(limit, int(Path(path).read_text()))
        except (OSError, ValueError):  # no such controller, or "max"
            continue
    return limit


class TmpfsStore(BackingStore):
    """Memory files. Sparse: a device takes memory only where it was touched."""

    name = "tmpfs"

    @classmethod
    def probe(cls) -> Probe:
        """Available wherever memfd_create(2) is."""
        try:
            os.close(os.memfd_create("daxemu-probe"))
        except OSError as error:
            return Probe(
                False, f"memfd_create: {error.strerror}", "allow memfd_create in the container's seccomp filter"
            )
        return Probe(True)

    def create(self, label: str, size: int) -> int:
        """Make a memfd. ENOMEM for a size that no touch could ever fill."""
        self._check(size)
        fd = os.memfd_create(label)
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def resize(self, fd: int, size: int) -> None:
        """Change a file's size. ENOMEM as for ``create``."""
        self._check(size)
        super().resize(fd, size)

    @staticmethod
    def _check(size: int) -> None:
        limit = _memory_limit()
        if size > limit:
            raise OSError(
                errno.ENOMEM,
                f"{format_size(size)} is more than the {limit >> 20}M of memory there is; ask for a smaller size",
            )
