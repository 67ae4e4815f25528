"""daxemu run: a program that sees emulated devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from daxemu.cli._foreground import environment, run_inside, run_with
from daxemu.cli._machine import Machine
from daxemu.cli._options import KMSG, MACHINE, SESSION
from daxemu.errors import UsageError

__all__ = ["OPTIONS", "run"]

OPTIONS = (*MACHINE, SESSION, KMSG)


def run(
    cmd: Sequence[str],
    region: Sequence[str] = (),
    kernel: str | None = None,
    drivers: str | None = None,
    session: str | None = None,
    kmsg: bool = False,
) -> NoReturn:
    """Run CMD with emulated devices: /dev/dax0.0, what --region asks for, or those of a running --session.

    Exit status, signals, terminal and files are CMD's own. 127: there is no CMD. 126: it cannot be
    started so that it sees the devices. 2: the devices cannot be made as asked.
    """
    machine = Machine(region, kernel, drivers)
    if session is None:
        run_with(machine.make_engine, cmd, environment(), kmsg=kmsg)
    if kmsg:
        raise UsageError("--kmsg prints the log of a machine of its own; leave out --session")
    run_inside(machine.enter(session), cmd, environment())
