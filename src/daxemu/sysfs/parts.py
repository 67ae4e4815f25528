"""Directories that there are on every bus: a driver's module, and a device's power management."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daxemu.kernel.module import Module
from daxemu.kernel.power import Power, PowerSettings
from daxemu.sysfs.attributes import MODULE_ATTRIBUTES, POWER_ATTRIBUTES
from daxemu.sysfs.directory import Directory

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.device import DevDax
    from daxemu.kernel.nvdimm.region import NdRegion
    from daxemu.kernel.region import DaxRegion

__all__ = ["module_directory", "power_directory"]


def module_directory(core: DaxCore, name: str) -> Directory[Module]:
    """A module's own directory."""
    return Directory(f"sys/module/{name}", MODULE_ATTRIBUTES, Module(core, name))


def power_directory(home: str, settings: PowerSettings, owner: DevDax | DaxRegion | NdRegion) -> Directory[Power]:
    """The directory ``power`` of a device; ``owner`` is what has changed when a setting has."""
    return Directory(f"{home}/power", POWER_ATTRIBUTES, Power(settings, owner))
