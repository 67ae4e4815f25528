"""daxemu plugins: what is installed."""

from __future__ import annotations

import json

import click

from daxemu.plugins import list_plugins

__all__ = ["command"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(as_json: bool) -> None:
    """List plugins, their backing stores, and whether those work here."""
    found = list_plugins()
    if as_json:
        print(json.dumps([plugin._asdict() for plugin in found], indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("Plugin", "Version", "Backend", "State", box=None)
    for plugin in found:
        for backend, state in (plugin.backends or {"–": ""}).items():
            table.add_row(plugin.name, plugin.version, backend, escape(state))
    Console().print(table)
