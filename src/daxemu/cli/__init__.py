"""The command ``daxemu``. Each command is a module, loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from daxemu.errors import DaxemuError

__all__ = ["main"]

_COMMANDS = {
    "run": "Run a program with emulated devices.",
    "list": "List the devices of running sessions.",
    "doctor": "Tell what this machine can do, and whether a program can be reached.",
    "plugins": "List plugins and backing stores.",
    "gc": "Remove what sessions left whose owner was killed.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"daxemu.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([*_COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="daxemu", message="daxemu %(version)s")
def _daxemu() -> None:
    """Linux device-DAX (/dev/daxX.Y) in user space: no hardware, no root, no VM."""


def main() -> None:
    """Entry point: errors are one line on stderr and exit status 2."""
    try:
        _daxemu(prog_name="daxemu")
    except DaxemuError as error:
        print(f"daxemu: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(2)
