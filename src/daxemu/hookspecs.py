"""The hooks that plugins implement."""

from __future__ import annotations

import pluggy

from daxemu.backing.store import BackingStore

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "daxemu"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def daxemu_register_backends() -> list[type[BackingStore]]:  # type: ignore[empty-body]
    """Return the classes of the backing stores that this plugin brings."""
