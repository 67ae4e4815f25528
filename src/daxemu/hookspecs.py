"""The hooks that plugins implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from daxemu.backing.store import BackingStore
    from daxemu.engine import Engine
    from daxemu.kernel.uevent import Uevent

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "daxemu"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def daxemu_register_backends() -> list[type[BackingStore]]:  # type: ignore[empty-body]
    """Return the classes of the backing stores that this plugin brings."""


@hookspec
def daxemu_uevent(engine: Engine, event: Uevent) -> None:
    """A uevent was sent: a device came, went, was bound or unbound, or a program wrote its ``uevent``.

    Called after the operation that caused it, in the thread that asked for it; another operation
    may not begin before the hook returns. It may use the engine, and must not wait for another
    thread that does. An exception is logged, and nothing else.
    """
