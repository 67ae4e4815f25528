"""daxemu crash run: record a program, then try a check on every state that a power failure may have left."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from daxemu.cli._crash_explore import EXPLORING, command_of, explore_and_tell, refuse_exploring
from daxemu.cli._options import SCAN, declared
from daxemu.device import DaxDevice
from daxemu.engine import Engine
from daxemu.errors import UsageError
from daxemu.pmem.points import Scan, parse_points, parse_scan, scan_for
from daxemu.pmem.reader import Recording
from daxemu.pmem.reaper import Reaper

__all__ = ["run"]


@click.command(context_settings={"allow_interspersed_args": False})
@EXPLORING
@click.option("--size", default="16M", metavar="SIZE", show_default=True, help="Size of /dev/dax0.0.")
@click.option("--align", default="2M", metavar="SIZE", show_default=True, help="Its alignment: 4K, 2M or 1G.")
@declared(SCAN)
@click.option(
    "--prepare", metavar="'CMD …'", help="Command that runs before the recording: what it stores is there, and durable."
)
@click.option("--keep", metavar="DIR", help="Keep the recording in a new directory DIR, for 'daxemu crash explore'.")
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    cmd: tuple[str, ...],
    size: str,
    align: str,
    scan: str | None,
    prepare: str | None,
    keep: str | None,
    **options: Any,
) -> None:
    """Run CMD with a /dev/dax0.0, then try --check on every state that a power failure meanwhile may have left.

    \b
    Exit status 0: no state fails. 1: some do. 2: it could not be run.
    daxemu crash run --check './log --verify /dev/dax0.0' -- ./log --append /dev/dax0.0
    """  # noqa: D301 # click wants the character
    wanted = parse_scan(scan) if scan is not None else scan_for(parse_points(options["points"]))
    if options["resume"] and not keep:
        raise UsageError("--resume goes on with a recording that was kept: say by --keep DIR which")
    refuse_exploring(**options)
    first = command_of("--prepare", prepare) if prepare is not None else []
    with tempfile.TemporaryDirectory(prefix="daxemu-crash-") as temporary, Reaper(temporary) as reaper:
        directory = Path(keep) if keep else Path(temporary, "recording")
        if not (options["resume"] and directory.exists()):
            with Engine() as engine:
                device = engine.add_region(size, align=align).devices[0]
                environment = os.environ | reaper.environment
                if first:
                    _prepare(device, first, environment)
                _record(device, cmd, wanted, directory, environment)
        with Recording(directory) as recording:
            if tuple(recording.command) != cmd:
                raise UsageError(f"{directory} is a recording of another command: {shlex.join(recording.command)}")
            if recording.cut_short:
                raise UsageError(
                    f"{directory} is cut short: {recording.cut_short}; remove it, to have {cmd[0]} recorded again, or "
                    f"try what there is by 'daxemu crash explore {directory}'"
                )
            status = explore_and_tell(recording, again=bool(keep), **options)
    sys.exit(status)


def _prepare(device: DaxDevice, cmd: list[str], environment: dict[str, str]) -> None:
    status = device.run(cmd, env=environment).returncode
    if status:
        raise UsageError(f"--prepare {shlex.join(cmd)}: it ended by {_ended(status)}, so nothing was recorded")


def _record(device: DaxDevice, cmd: tuple[str, ...], scan: Scan, directory: Path, environment: dict[str, str]) -> None:
    with device.record(directory, scan=scan) as recorder:
        recorder.command = cmd
        recorder.status = device.run(cmd, env=environment).returncode
        if recorder.status:
            print(
                f"daxemu: {cmd[0]} ended by {_ended(recorder.status)}; what it did until then is tried", file=sys.stderr
            )
    if not recorder.nr_events:
        raise UsageError(f"{cmd[0]} stored nothing to {device.path}: there is nothing that a power failure may take")


def _ended(status: int) -> str:
    return f"exit status {status}" if status > 0 else signal.Signals(-status).name
