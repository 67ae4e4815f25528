"""daxemu list: the devices that running sessions show."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daxemu.cli._options import SESSION, declared
from daxemu.session.listing import list_devices
from daxemu.units import format_size

__all__ = ["command"]


@click.command()
@declared(SESSION._replace(help="Only this session, given by its name or its directory."))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of objects, sizes in bytes.")
def command(session: str | None, as_json: bool) -> None:
    """List the devices of running sessions, or of one; called inside a session, its own devices."""
    devices = list_devices(session)
    if as_json:
        print(json.dumps([device._asdict() for device in devices], indent=2))
        return
    if not devices:
        print("There are no devices. Make some with: daxemu run -- CMD, daxemu shell, or daxemu serve")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("Device", "Number", "Size", "Align", "State", "Session", "Engine", box=None)
    for device in devices:
        state = "alive" if device.alive else "dead"
        table.add_row(
            f"/dev/{device.chardev}",
            device.devt,
            format_size(device.size),
            format_size(device.align),
            state,
            Path(device.session).name,
            f"pid {device.pid}",
        )
    Console().print(table)
