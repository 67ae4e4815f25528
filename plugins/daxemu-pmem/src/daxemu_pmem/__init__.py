"""Devices on real persistent memory: ``backend=pmem:/mnt/pmem``, ``pmem:/mnt/pmem/file``, ``pmem:/dev/dax0.0``."""

import daxemu
from daxemu.backing import BackingStore
from daxemu_pmem.store import PmemStore

__all__ = ["PmemStore", "daxemu_register_backends"]


@daxemu.hookimpl
def daxemu_register_backends() -> list[type[BackingStore]]:
    """Return the store."""
    return [PmemStore]
