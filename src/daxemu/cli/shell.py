"""daxemu shell: look around in a machine with emulated devices."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from daxemu.cli._foreground import environment, run_inside, run_with
from daxemu.cli._machine import Machine, describe_devices
from daxemu.cli._options import MACHINE, SESSION, declared
from daxemu.engine import Engine
from daxemu.session.listing import session_devices

__all__ = ["command"]

_MARK = "(daxemu) "


@click.command()
@declared(*MACHINE, SESSION)
def command(region: tuple[str, ...], kernel: str | None, drivers: str | None, session: str | None) -> None:
    """Start your shell ($SHELL) where the devices are: /dev/dax0.0, what --region asks for, or a running --session's.

    The exit status is the shell's.
    """
    machine = Machine(region, kernel, drivers)
    shell = os.environ.get("SHELL") or "/bin/sh"
    if session is not None:
        variables = machine.enter(session)
        devices = session_devices(Path(variables["DAXEMU_SESSION"]))
        _greet(((device.chardev, device.size) for device in devices), "'exit' leaves them as they are")
        run_inside(variables, [shell], _with_prompt(environment()))

    def make_engine() -> Engine:
        engine = machine.make_engine()
        _greet(((device.name, device.size) for device in engine.devices), "'exit' ends the shell, and them with it")
        return engine

    run_with(make_engine, [shell], _with_prompt(environment()))


def _greet(devices: Iterable[tuple[str, int]], leaving: str) -> None:
    print(f"daxemu: {describe_devices(devices)}; {leaving}", file=sys.stderr, flush=True)


def _with_prompt(variables: dict[str, str]) -> dict[str, str]:
    """Have the prompt say where one is. bash makes its own anew at the start, and then asks PROMPT_COMMAND."""
    mark = f'PS1="{_MARK}${{PS1#"{_MARK}"}}"'
    commands = [mark, *filter(None, [variables.get("PROMPT_COMMAND")])]
    return variables | {"PS1": f"{_MARK}{variables.get('PS1', '$ ')}", "PROMPT_COMMAND": "; ".join(commands)}
