"""Kernel versions: what differs between them, each difference by a name."""

from __future__ import annotations

from typing import NamedTuple

from daxemu.errors import UsageError

__all__ = ["DEFAULT_FLAVOUR", "FLAVOURS", "QUIRKS", "Flavour", "find_flavour"]


# What holds where a quirk is True, for users; the documentation's table is made of it.
QUIRKS = {
    "match_by_type": "Soft-reserved and CXL memory goes to kmem by itself, and to device_dax only by `new_id`. "
    "Otherwise device_dax takes every device, and kmem only by `new_id`.",
    "memmap_on_memory": "Devices have the attribute `memmap_on_memory`.",
    "cxl_regions": "Regions of CXL memory have dax devices: provider `cxl`.",
    "mapping_ignores_misaligned": "A misaligned range written to `mapping` is accepted and dropped. "
    "Otherwise it is ENXIO.",
    "mapping_ignores_gone_region": "A range written to `mapping` while the region goes away is accepted and dropped. "
    "Otherwise it is ENXIO.",
    "probe_failure_is_error": "That a driver refuses a device is logged as an error of the device. Otherwise it is a "
    "warning of the driver, in other words.",
    "fixed_splits_enomem": "mmap with MAP_FIXED over a part of a block of a mapping is ENOMEM. Otherwise it is EINVAL.",
    "stack_forbids_huge": "A mapping made with MAP_STACK has no huge pages, so every touch is SIGBUS where the "
    "alignment is 2 MiB or more.",
    "memory_comes_online": "New memory comes online by itself, until `auto_online_blocks` is told otherwise, as Debian "
    "configures it. Otherwise it stays offline.",
    "crash_hotplug": "The directory of memory blocks has the attribute `crash_hotplug`.",
    "fallocate_mix_einval": "fallocate modes that do not go together are EINVAL. Otherwise they are EOPNOTSUPP.",
    "seals_mappings": "There is mseal.",
    "counts_touched_blocks": "smaps counts the blocks of 2 MiB that a process has touched as its own, others not. "
    "Otherwise it counts nothing of a device.",
}


class Flavour(NamedTuple):
    """One kernel version's quirks. ``QUIRKS`` says what each is."""

    name: str
    match_by_type: bool
    memmap_on_memory: bool
    mapping_ignores_misaligned: bool
    fixed_splits_enomem: bool
    stack_forbids_huge: bool
    fallocate_mix_einval: bool
    cxl_regions: bool
    mapping_ignores_gone_region: bool
    probe_failure_is_error: bool
    memory_comes_online: bool
    crash_hotplug: bool
    seals_mappings: bool
    counts_touched_blocks: bool


FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            "6.1",
            match_by_type=False,
            memmap_on_memory=False,
            mapping_ignores_misaligned=False,
            fixed_splits_enomem=True,
            stack_forbids_huge=False,
            fallocate_mix_einval=True,
            cxl_regions=False,
            mapping_ignores_gone_region=False,
            probe_failure_is_error=False,
            memory_comes_online=False,
            crash_hotplug=False,
            seals_mappings=False,
            counts_touched_blocks=True,
        ),
        Flavour(
            "6.12",
            match_by_type=True,
            memmap_on_memory=True,
            mapping_ignores_misaligned=True,
            fixed_splits_enomem=False,
            stack_forbids_huge=True,
            fallocate_mix_einval=False,
            cxl_regions=True,
            mapping_ignores_gone_region=True,
            probe_failure_is_error=True,
            memory_comes_online=True,
            crash_hotplug=True,
            seals_mappings=True,
            counts_touched_blocks=False,
        ),
    )
}
DEFAULT_FLAVOUR = FLAVOURS["6.12"]


def find_flavour(name: str) -> Flavour:
    """Return a flavour by the kernel's version. Raises UsageError naming those there are."""
    try:
        return FLAVOURS[name]
    except KeyError:
        raise UsageError(f"unknown kernel {name!r}; there are: {', '.join(FLAVOURS)}") from None
