"""Where a region hangs in the machine: each provider is what a kernel driver is on hardware."""

from __future__ import annotations

from typing import NamedTuple

from daxemu.errors import UsageError

__all__ = ["PROVIDERS", "Provider", "find_provider"]


class Provider(NamedTuple):
    """How one kind of hardware presents a region.

    ``parent`` is the path below /sys, with ``{id}`` for the region's number; ``static`` regions
    have one device of full size for life; ``module`` is the kernel module to be seen as loaded;
    the memory of ``kmem`` ones is meant to become ordinary memory. The parent is a device on
    ``bus``, of type ``devtype`` where the bus has types, bound to ``driver`` by its ``modalias``;
    ``files`` names the attributes that it has.
    """

    name: str
    parent: str
    static: bool
    module: str
    bus: str
    driver: str
    modalias: str
    devtype: str = ""
    files: tuple[str, ...] = ()
    kmem: bool = False


from daxemu.kernel.providers.hmem import HMEM  # noqa: E402
from daxemu.kernel.providers.pmem import PMEM  # noqa: E402

PROVIDERS = {provider.name: provider for provider in (PMEM, HMEM)}


def find_provider(name: str) -> Provider:
    """Return a provider by name. Raises UsageError naming those there are."""
    try:
        return PROVIDERS[name]
    except KeyError:
        raise UsageError(f"unknown provider {name!r}; there are: {', '.join(PROVIDERS)}") from None
