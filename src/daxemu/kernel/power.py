"""Power management as far as it can be set: no dax device has any, so nothing comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from daxemu.kernel.ports import Event

if TYPE_CHECKING:
    from daxemu.kernel.device import DevDax
    from daxemu.kernel.nvdimm.region import NdRegion
    from daxemu.kernel.region import DaxRegion

__all__ = ["Power", "PowerSettings"]


class PowerSettings:
    """What is set of one device."""

    control = "auto"
    asynchronous = "disabled"


class Power(NamedTuple):
    """The settings of a device, and who tells that they have changed."""

    settings: PowerSettings
    owner: DevDax | DaxRegion | NdRegion

    def set(self, name: str, value: str) -> None:
        """Set one."""
        setattr(self.settings, name, value)
        self.owner.core.publish(Event("change", self.owner))
