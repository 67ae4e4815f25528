"""daxemu crash: recordings of what programs make durable, and what a power failure may leave of it."""

from __future__ import annotations

import click

from daxemu.cli._crash_explore import explore
from daxemu.cli._crash_import import import_
from daxemu.cli._crash_record import record
from daxemu.cli._crash_run import run
from daxemu.cli._crash_show import show

__all__ = ["command"]


@click.group()
def command() -> None:
    """Try a program's recovery on every state that a power failure may leave."""


command.add_command(explore)
command.add_command(import_)
command.add_command(record)
command.add_command(run)
command.add_command(show)
