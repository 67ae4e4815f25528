"""The interface of a backing store."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

__all__ = ["BackingFile", "BackingStore", "Probe"]


class Probe(NamedTuple):
    """Whether a store works on this machine; if not, why, and what would help."""

    available: bool
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        return "available" if self.available else f"{self.reason}; {self.remedy}"


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

    def resize(self, size: int) -> None:
        """Change the size in bytes. What is cut off vanishes from every mapping: SIGBUS on the next touch."""
        self._store.resize(self.fd, size)

    def close(self) -> None:
        """Give the memory back, once nobody maps it any more."""
        if self.fd >= 0:
            self._store.destroy(self.fd)
            self.fd = -1


class BackingStore(ABC):
    """A way to keep devices' bytes. Subclass it and return the class from ``daxemu_register_backends``.

    ``name`` is what users write; ``page_size`` the unit of the store's page tables in bytes.
    """

    name: ClassVar[str]
    page_size: ClassVar[int] = 4096

    @classmethod
    @abstractmethod
    def probe(cls) -> Probe:
        """Tell whether the store works here, without changing anything."""

    @abstractmethod
    def create(self, label: str, size: int) -> int:
        """Return a descriptor, open for reading and writing, of a new file of ``size`` zero bytes.

        ``label`` is for people who look into /proc. Raises OSError (ENOSPC, ENOMEM) if there is no room.
        """

    def resize(self, fd: int, size: int) -> None:
        """Change a file's size in bytes."""
        os.ftruncate(fd, size)

    def destroy(self, fd: int) -> None:
        """Close a file that ``create`` made and free its memory."""
        os.close(fd)
