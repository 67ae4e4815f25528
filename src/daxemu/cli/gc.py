"""daxemu gc: remove what killed engines left."""

from __future__ import annotations

import click

from daxemu.session.directory import sweep

__all__ = ["command"]


@click.command()
def command() -> None:
    """Remove what sessions left whose owner was killed; running sessions are not touched."""
    swept = sweep()
    for path in swept:
        print(f"removed {path}")
    if not swept:
        print("nothing to remove")
