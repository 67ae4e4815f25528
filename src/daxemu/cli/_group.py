"""The command line as click has it: what is not said in the one plain way, and all help."""

from __future__ import annotations

import signal
import sys
from functools import cache
from importlib import import_module
from typing import Any

import click

from daxemu.cli import COMMANDS
from daxemu.cli._options import declared
from daxemu.cli.run import OPTIONS, run
from daxemu.plugins import hooks

__all__ = ["daxemu"]


@cache
def _plugin_commands() -> dict[str, click.Command]:
    """What plugins add to the command line."""
    relay = hooks()
    groups = relay.daxemu_register_commands() if relay is not None else []
    return {command.name or "": command for group in groups for command in group if command.name not in COMMANDS}


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """An interrupt ends with what shells answer for it; click's 1 means something else to some commands."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*COMMANDS, *_plugin_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return _plugin_commands().get(cmd_name)
        command = _run if cmd_name == "run" else import_module(f"daxemu.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])
        if _plugin_commands():
            with formatter.section("Commands of plugins"):
                formatter.write_dl(
                    [(name, command.get_short_help_str()) for name, command in _plugin_commands().items()]
                )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="daxemu", message="daxemu %(version)s")
def daxemu() -> None:
    """Linux device-DAX (/dev/daxX.Y) in user space: no hardware, no root, no VM."""


_CMD = click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
_run = click.command("run", context_settings={"allow_interspersed_args": False})(declared(*OPTIONS)(_CMD(run)))
