"""The store: files of huge pages, reserved when a device is made."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

from daxemu.backing import BackingStore, Probe
from daxemu.errors import UsageError
from daxemu.units import parse_size
from daxemu_hugetlbfs.pool import Pool

__all__ = ["HugetlbfsStore"]

_MAGIC = "hugetlbfs"
_SHIFT = 26  # where memfd_create wants the page size's logarithm
_CHUNK = 2 << 20
_A_DEVICE = 64 << 20  # what a device is made of by default
_ZEROS = bytes(_CHUNK)


def _page_size(where: str) -> int:
    """Bytes of a page: by its size, or of the file system mounted there. ValueError, OSError: neither."""
    if where.startswith("/"):
        return os.statvfs(where).f_bsize
    try:
        return parse_size(where or "2M")
    except UsageError:
        raise ValueError(f"{where!r} is neither a page size nor an absolute path") from None


def _is_mount(where: str) -> bool:
    """Is a hugetlbfs mounted there?"""
    best = ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        at, kind = line.split()[1:3]
        if (where == at or where.startswith(at.rstrip("/") + "/")) and len(at) >= len(best[0]):
            best = (at, kind)
    return best[1] == _MAGIC


class HugetlbfsStore(BackingStore):
    """Files of huge pages.

    ``where`` is a page size, ``2M`` (the default) or ``1G``, for files without a name (memfd), or
    the directory of a hugetlbfs mount. Every page of a device is reserved when the device is made,
    so that no touch of it is ever SIGBUS for lack of pages; closing it gives them back.
    """

    name = "hugetlbfs"
    reserves = True
    movable = False

    def __init__(self, where: str = "") -> None:
        super().__init__(where)
        self.page_size = _page_size(where)
        self._pool = Pool(self.page_size)

    @classmethod
    def probe(cls, where: str = "") -> Probe:
        """Available where huge pages of that size have been set aside."""
        remedy = "write hugetlbfs, hugetlbfs:1G or hugetlbfs:/path/of/a/mount"
        try:
            pool = Pool(_page_size(where))
        except (ValueError, OSError) as error:
            return Probe(False, str(error), remedy)
        if where.startswith("/") and not _is_mount(where):
            return Probe(False, f"{where} is on no hugetlbfs", "mount one there, or write hugetlbfs:2M")
        if where.startswith("/") and not os.access(where, os.W_OK | os.X_OK):
            return Probe(False, f"no right to make files in {where}", "mount it with -o uid=, or write hugetlbfs:2M")
        if not pool.exists:
            return Probe(False, f"this machine has no pages of {pool.page_size >> 10} KiB", remedy)
        if pool.pages() == 0:
            return Probe(False, "no huge pages are set aside", pool.remedy(max(_A_DEVICE // pool.page_size, 1)))
        return Probe(True, f"{pool.free()} of {pool.pages()} pages free")

    def create(self, label: str, size: int) -> int:
        """Make a file; ``reserve`` gets it its pages. ENOMEM: more than a file of huge pages can have."""
        if self.where.startswith("/"):
            fd = os.open(self.where, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        else:
            kind = os.MFD_HUGETLB | (self.page_size.bit_length() - 1) << _SHIFT
            fd = os.memfd_create(label, os.MFD_CLOEXEC | kind)
        try:
            self.resize(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def reserve(self, fd: int, size: int) -> None:
        """Have pages set aside for all of the file. ENOMEM, with what would help, if there are not so many."""
        if size == 0:
            return
        try:
            # What a shared mapping reserves stays the file's.
            mmap.mmap(fd, size).close()
        except (OSError, OverflowError) as error:
            held = os.fstat(fd).st_blocks * 512
            needed = max((size - held) // self.page_size, 1)
            raise OSError(errno.ENOMEM, self._pool.shortage(needed)) from error

    def park(self, label: str, size: int) -> int:
        """Return an ordinary memory file: what devices give up shall not hold huge pages."""
        fd = os.memfd_create(label)
        os.ftruncate(fd, size)
        return fd

    def copy(self, source: int, source_at: int, target: int, target_at: int, length: int) -> None:
        """Copy what is not zero, by a mapping: files of huge pages take no write(2)."""
        if length == 0:
            return
        with mmap.mmap(target, length, offset=target_at) as memory:
            for at in range(0, length, _CHUNK):
                data = os.pread(source, min(_CHUNK, length - at), source_at + at)
                if data != _ZEROS[: len(data)] or memory[at : at + len(data)] != data:
                    memory[at : at + len(data)] = data
