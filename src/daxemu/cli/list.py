"""daxemu list: the devices that running sessions show."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from daxemu.session.listing import list_devices
from daxemu.units import format_size

__all__ = ["command"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of objects, sizes in bytes.")
def command(as_json: bool) -> None:
    """List the devices of running sessions; called inside a session, its own devices."""
    devices = list_devices()
    if as_json:
        print(json.dumps([asdict(device) for device in devices], indent=2))
        return
    if not devices:
        print("No session is running. Start one with: daxemu run -- CMD")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("Device", "Number", "Size", "Align", "State", "Engine", box=None)
    for device in devices:
        state = "alive" if device.alive else "dead"
        table.add_row(
            f"/dev/{device.chardev}",
            device.devt,
            format_size(device.size),
            format_size(device.align),
            state,
            f"pid {device.pid}",
        )
    Console().print(table)
