"""daxemu serve: devices that stay while programs come and go."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
from contextlib import suppress
from pathlib import Path

import click

from daxemu.cli._machine import Machine, describe_devices
from daxemu.cli._options import MACHINE, Option, declared
from daxemu.engine import Engine
from daxemu.errors import UsageError

__all__ = ["command"]

_NAME = Option("session", "NAME", "Name by which other commands find the session; by default one that nobody has.")
_STATE = Option(
    "state",
    "DIR",
    "Keep regions, devices and what they hold in DIR, to be there again the next time.",
)
_ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@click.command()
@declared(_NAME, *MACHINE, _STATE)
@click.option("--json", "as_json", is_flag=True, help="Print one line with an object instead of what a shell reads.")
@click.option("--ready-fd", type=int, metavar="N", help="Write a line to descriptor N when all is ready, and close it.")
def command(
    session: str | None,
    region: tuple[str, ...],
    kernel: str | None,
    drivers: str | None,
    state: str | None,
    as_json: bool,
    ready_fd: int | None,
) -> None:
    """Keep devices until SIGTERM, SIGINT or SIGHUP, for programs that come and go.

    When all is ready, prints what makes a program see the devices, in a form that a shell can read:
    two lines with export, the rest comments. Or let 'daxemu run --session NAME -- CMD' do it.
    """
    if ready_fd is not None:
        _check_descriptor(ready_fd)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    with Machine(region, kernel, drivers).make_engine(session, state) as engine:
        print(_as_json(engine) if as_json else _as_shell(engine), flush=True)
        if ready_fd is not None:
            _notify(ready_fd, engine)
        signal.sigwait(_ENDS)


def _as_json(engine: Engine) -> str:
    variables = engine.environ()
    path = Path(variables["DAXEMU_SESSION"])
    devices = [{"chardev": device.name, "size": device.size, "align": device.align} for device in engine.devices]
    facts = {"name": path.name, "session": str(path), "pid": os.getpid(), "environ": variables, "devices": devices}
    return json.dumps(facts)


def _as_shell(engine: Engine) -> str:
    variables = engine.environ()
    name = Path(variables["DAXEMU_SESSION"]).name
    devices = describe_devices((device.name, device.size) for device in engine.devices)
    return "\n".join(
        [
            f"# daxemu: session {name}, process {os.getpid()}: {devices}",
            *(f"export {variable}={shlex.quote(value)}" for variable, value in variables.items()),
            f"# ready: daxemu run --session {name} -- CMD; it ends by Ctrl-C, or: kill {os.getpid()}",
        ]
    )


def _check_descriptor(fd: int) -> None:
    try:
        writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        writable = False
    if not writable:
        raise UsageError(f"--ready-fd {fd}: not open for writing; open it as in: daxemu serve --ready-fd 3 3>file")


def _notify(fd: int, engine: Engine) -> None:
    with suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(fd, f"{engine.environ()['DAXEMU_SESSION']}\n".encode())
    if fd > 2:
        os.close(fd)
