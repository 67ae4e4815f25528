"""Kernel modules as far as programs look for them: they are loaded, and take uevents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore

__all__ = ["Module"]


class Module(NamedTuple):
    """A module that is loaded."""

    core: DaxCore
    name: str

    def kobject(self) -> Kobject:
        """The module itself."""
        return Kobject(f"/module/{self.name}", "module", {})
