"""Kernel versions: what differs between them, each difference by a name."""

from __future__ import annotations

from typing import NamedTuple

from daxemu.errors import UsageError

__all__ = ["DEFAULT_FLAVOUR", "FLAVOURS", "Flavour", "find_flavour"]


class Flavour(NamedTuple):
    """One kernel version's quirks.

    ``match_by_type``: soft-reserved memory and CXL memory go to kmem by themselves, and to
    device_dax only by ``new_id``. ``memmap_on_memory``: devices have that attribute.
    ``mapping_ignores_misaligned``: a misaligned range written to ``mapping`` is accepted and
    dropped; otherwise it is ENXIO. ``fixed_splits_enomem``: mmap with MAP_FIXED over a part of a
    block of a mapping is ENOMEM; otherwise it is EINVAL. ``stack_forbids_huge``: a mapping made with
    MAP_STACK has no huge pages, so every touch is SIGBUS where the alignment is 2 MiB or more.
    ``fallocate_mix_einval``: fallocate modes that do not go together are EINVAL; otherwise they are EOPNOTSUPP.
    ``mapping_ignores_gone_region``: a range written to ``mapping`` while the region goes away is
    accepted and dropped; otherwise it is ENXIO. ``probe_failure_is_error``: that a driver refuses a
    device is logged as an error of the device; otherwise as a warning, and in other words.
    """

    name: str
    match_by_type: bool
    memmap_on_memory: bool
    mapping_ignores_misaligned: bool
    fixed_splits_enomem: bool
    stack_forbids_huge: bool
    fallocate_mix_einval: bool
    mapping_ignores_gone_region: bool
    probe_failure_is_error: bool


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
            mapping_ignores_gone_region=False,
            probe_failure_is_error=False,
        ),
        Flavour(
            "6.12",
            match_by_type=True,
            memmap_on_memory=True,
            mapping_ignores_misaligned=True,
            fixed_splits_enomem=False,
            stack_forbids_huge=True,
            fallocate_mix_einval=False,
            mapping_ignores_gone_region=True,
            probe_failure_is_error=True,
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
