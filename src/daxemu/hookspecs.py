"""The hooks that plugins implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from daxemu.backing.store import BackingStore
    from daxemu.device import DaxDevice
    from daxemu.engine import Engine
    from daxemu.faults import Point
    from daxemu.kernel.uevent import Uevent
    from daxemu.region import DaxRegion

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "daxemu"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def daxemu_register_backends() -> list[type[BackingStore]]:  # type: ignore[empty-body]
    """Return the classes of the backing stores that this plugin brings."""


@hookspec(firstresult=True)
def daxemu_fault(point: Point, path: str) -> int | None:
    """A point where something may fail is passed: return the errno to fail with, or None to let it go well.

    ``point`` is ``store`` (a write of the attribute at ``path``), ``open`` (an open of the device at
    ``path``) or ``zap`` (the mappings of the device are about to be revoked; what is returned is not
    heeded). The hook may take its time: it is waited for. It must not use the engine. Faults of
    ``Engine.faults`` come first.
    """


@hookspec
def daxemu_register_commands() -> list[click.Command]:  # type: ignore[empty-body]
    """Return commands that this plugin adds to ``daxemu``; one that daxemu has itself stays as it is."""


@hookspec
def daxemu_uevent(engine: Engine, event: Uevent) -> None:
    """A uevent was sent: a device came, went, was bound or unbound, or a program wrote its ``uevent``.

    Called after the operation that caused it, in the thread that asked for it; another operation
    may not begin before the hook returns. It may use the engine, and must not wait for another
    thread that does. An exception is logged, and nothing else.
    """


# What happens to regions and devices. These are called when the operation is over, in the thread
# that asked for it, like daxemu_uevent.


@hookspec
def daxemu_attribute_stored(engine: Engine, path: str, text: str, error: int) -> None:
    """An attribute was written: which, with what, and the errno that the writer got, 0 for none."""


@hookspec
def daxemu_region_added(region: DaxRegion) -> None:
    """A region was made; its first device is told of by itself."""


@hookspec
def daxemu_region_removed(region: DaxRegion) -> None:
    """A region is gone, and its devices went before it."""


@hookspec
def daxemu_device_added(device: DaxDevice) -> None:
    """A device was made."""


@hookspec
def daxemu_device_bound(device: DaxDevice) -> None:
    """A driver took the device."""


@hookspec
def daxemu_device_revived(device: DaxDevice) -> None:
    """Programs can map the device (again): it was bound to device_dax, or revived after ``kill``."""


@hookspec
def daxemu_device_resized(device: DaxDevice) -> None:
    """The device's size or ranges changed."""


@hookspec
def daxemu_device_killed(device: DaxDevice) -> None:
    """Every mapping of the device was revoked (zapped), by unbinding it or by ``kill``."""


@hookspec
def daxemu_device_unbound(device: DaxDevice) -> None:
    """The driver let the device go."""


@hookspec
def daxemu_device_removed(device: DaxDevice) -> None:
    """A device is gone."""


# The programs that map devices. Called in a thread of its own, in order; the process may have ended
# by then. An exception is logged, and nothing else.


@hookspec
def daxemu_client_attached(engine: Engine, pid: int) -> None:
    """A process has mapped a device for the first time."""


@hookspec
def daxemu_client_detached(engine: Engine, pid: int) -> None:
    """A process that mapped devices has ended, or become another program."""


@hookspec
def daxemu_power_failed(device: DaxDevice) -> None:
    """Power went and came back (``DaxDevice.power_fail``, ``Engine.reboot``).

    The device is there again, with what survived.
    """
