"""The dax pseudo file system: one inode and one address space for each device number."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from daxemu.kernel.ids import Devt

__all__ = [
    "DAXFS_MAGIC",
    "S_DAX",
    "AddressSpace",
    "DaxInode",
    "DaxSuperBlock",
    "Inode",
    "Mapper",
    "NodeInode",
    "Statfs",
    "hash_32",
]

DAXFS_MAGIC = 0x64646178
S_DAX = 1 << 13
_GOLDEN_RATIO_32 = 0x61C88647


def hash_32(value: int, bits: int) -> int:
    """Multiplicative hash by the golden ratio; the inode cache's key."""
    return ((value & 0xFFFFFFFF) * _GOLDEN_RATIO_32 & 0xFFFFFFFF) >> (32 - bits)


class Mapper(Protocol):
    """Somebody who maps an address space: a VMA of the model, or all processes of a session."""

    def unmap(self, first: int, last: int) -> None:
        """Drop every page of the byte range [first, last]; later touches fault again."""


class AddressSpace:
    """What every mapping of a device hangs on (``struct address_space``)."""

    def __init__(self, host: Inode) -> None:
        self.host = host
        self.i_mmap: list[Mapper] = []

    def unmap_mapping_range(self, start: int, length: int) -> None:
        """Revoke [start, start+length) from everyone who maps it; length 0 means to the end.

        The one way to revoke: whichever node, file or process a mapping came through, it hangs here.
        """
        last = start + length - 1 if length else (1 << 64) - 1
        for mapper in tuple(self.i_mmap):
            mapper.unmap(start, last)


class Inode:
    """An inode with an address space of its own."""

    def __init__(self, i_mode: int, i_rdev: Devt) -> None:
        self.i_mode = i_mode
        self.i_rdev = i_rdev
        self.i_flags = 0
        self.i_data = AddressSpace(self)
        self.i_mapping = self.i_data


class DaxInode(Inode):
    """The inode that stands for a device, whatever nodes lead to it. Made by ``DaxSuperBlock.iget``."""

    def __init__(self, devt: Devt) -> None:
        super().__init__(stat.S_IFCHR, devt)
        self.i_flags = S_DAX
        self.i_count = 0


class NodeInode(Inode):
    """A directory entry's inode: /dev/daxX.Y or an alias made by mknod(2)."""

    def __init__(self, devt: Devt, mode: int = 0o600) -> None:
        super().__init__(stat.S_IFCHR | mode, devt)

    def cd_forget(self) -> None:
        """The character device is going away: point back at the node's own, empty address space."""
        self.i_mapping = self.i_data


class Statfs(NamedTuple):
    """The part of statfs(2) that a pseudo file system answers."""

    f_type: int
    f_bsize: int = 4096
    f_namelen: int = 255


class DaxSuperBlock:
    """The kern-mounted file system named ``dax`` with its inode cache."""

    def __init__(self) -> None:
        self.s_magic = DAXFS_MAGIC
        self._cache: dict[int, list[DaxInode]] = {}
        self._awaiting_rcu: list[DaxInode] = []
        self._mounted = True

    def statfs(self) -> Statfs:
        """Tell the magic number and the page size."""
        return Statfs(self.s_magic)

    def _bucket(self, devt: Devt) -> list[DaxInode]:
        return self._cache.setdefault(hash_32(int(devt) + DAXFS_MAGIC, 31), [])

    def iget(self, devt: Devt) -> DaxInode:
        """Return the inode of a device number with one more reference; made on first use."""
        assert self._mounted, "iget on an unmounted dax file system"
        bucket = self._bucket(devt)
        for inode in bucket:
            if inode.i_rdev == devt:
                break
        else:
            inode = DaxInode(devt)
            bucket.append(inode)
        inode.i_count += 1
        return inode

    def iput(self, inode: DaxInode) -> None:
        """Drop one reference; the last one evicts the inode from the cache."""
        assert inode.i_count > 0, "iput of an inode without references"
        inode.i_count -= 1
        if inode.i_count == 0:
            key = hash_32(int(inode.i_rdev) + DAXFS_MAGIC, 31)
            self._cache[key].remove(inode)
            if not self._cache[key]:
                del self._cache[key]
            self._awaiting_rcu.append(inode)

    def rcu_barrier(self) -> None:
        """Free every evicted inode whose grace period is outstanding."""
        self._awaiting_rcu.clear()

    def inodes(self) -> Iterable[DaxInode]:
        """All live inodes."""
        return [inode for bucket in self._cache.values() for inode in bucket]

    def unmount(self) -> None:
        """Unmount and destroy the cache, after the last evicted inode really is free."""
        assert not self._cache, f"inodes still in use: {[str(i.i_rdev) for i in self.inodes()]}"
        self.rcu_barrier()
        assert not self._awaiting_rcu, "inode cache destroyed before its inodes"
        self._mounted = False
