"""Where a region hangs in the machine: each provider is what a kernel driver is on hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from daxemu.errors import UsageError
from daxemu.kernel.flavour import Flavour
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore

__all__ = ["PROVIDERS", "Provider", "ProviderDriver", "find_provider"]


class Provider(NamedTuple):
    """How one kind of hardware presents a region.

    ``parent`` is the path below /sys, with ``{id}`` for the region's number; ``static`` regions
    have one device of full size for life; ``module`` is the kernel module to be seen as loaded;
    the memory of ``kmem`` ones is meant to become ordinary memory. The parent is a device on
    ``bus``, of type ``devtype`` where the bus has types, bound to ``driver`` by its ``modalias``;
    ``files`` names the attributes that it has, ``parameters`` those of the module;
    ``shows_bus``: the bus shows the parent and its driver. The first device of a region begins with
    ``memmap_on_memory``. ``quirk`` names the flavour's property that the provider needs.
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
    parameters: tuple[str, ...] = ()
    shows_bus: bool = True
    kmem: bool = False
    memmap_on_memory: bool = False
    quirk: str = ""


class ProviderDriver(NamedTuple):
    """The driver of a provider's parents."""

    core: DaxCore
    provider: Provider

    @property
    def path(self) -> str:
        """Path of its directory below /sys."""
        return f"bus/{self.provider.bus}/drivers/{self.provider.driver}"

    def kobject(self) -> Kobject:
        """The driver itself."""
        return Kobject(f"/{self.path}", "drivers", {})


from daxemu.kernel.providers.cxl import CXL  # noqa: E402
from daxemu.kernel.providers.hmem import HMEM  # noqa: E402
from daxemu.kernel.providers.pmem import PMEM  # noqa: E402

PROVIDERS = {provider.name: provider for provider in (PMEM, HMEM, CXL)}


def find_provider(name: str, flavour: Flavour | None = None) -> Provider:
    """Return a provider by name. Raises UsageError naming those there are, or that this kernel has it not."""
    if name not in PROVIDERS:
        raise UsageError(f"unknown provider {name!r}; there are: {', '.join(PROVIDERS)}")
    provider = PROVIDERS[name]
    if flavour is not None and provider.quirk and not getattr(flavour, provider.quirk):
        raise UsageError(f"provider {name!r}: Linux {flavour.name} makes no dax regions of it; use kernel 6.12")
    return provider
