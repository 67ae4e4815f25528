"""Devices on huge pages that the machine has set aside: ``backend=hugetlbfs``, ``hugetlbfs:1G``, ``hugetlbfs:/mnt``."""

import daxemu
from daxemu.backing import BackingStore
from daxemu_hugetlbfs.store import HugetlbfsStore

__all__ = ["HugetlbfsStore", "daxemu_register_backends"]


@daxemu.hookimpl
def daxemu_register_backends() -> list[type[BackingStore]]:
    """Return the store."""
    return [HugetlbfsStore]
