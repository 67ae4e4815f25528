"""daxemu crash record: what a program makes durable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from daxemu.cli._foreground import environment, run_with
from daxemu.cli._machine import Machine, describe_devices
from daxemu.cli._options import MACHINE, SCAN, declared
from daxemu.errors import UsageError
from daxemu.pmem.points import parse_scan

if TYPE_CHECKING:
    from daxemu.device import DaxDevice
    from daxemu.engine import Engine
    from daxemu.pmem.recorder import Recorder

__all__ = ["record"]


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-o", "--output", metavar="DIR", required=True, help="The recording: a new directory.")
@click.option("--device", metavar="NAME", help="What is recorded, where there is more than one device: dax1.0.")
@declared(SCAN, *MACHINE)
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def record(
    output: str,
    device: str | None,
    scan: str | None,
    region: tuple[str, ...],
    kernel: str | None,
    drivers: str | None,
    cmd: tuple[str, ...],
) -> NoReturn:
    """Run CMD with emulated devices as 'daxemu run' does, and record what it makes durable on /dev/dax0.0.

    Exit status, signals, terminal and files are CMD's own. 127: there is no CMD. 126: it cannot be
    started so that it sees the devices. 2: the devices, or the recording, cannot be made as asked.
    """
    wanted = parse_scan(scan) if scan is not None else None
    machine = Machine(region, kernel, drivers)
    recorders: list[Recorder] = []

    def make_engine() -> Engine:
        engine = machine.make_engine()
        try:
            recorder = _recorded(engine, device).record(output, scan=wanted)
        except BaseException:
            engine.close()
            raise
        recorder.command = cmd
        recorders.append(recorder)
        return engine

    def ended(status: int) -> None:
        recorders[0].status = status
        recorders[0].close()

    try:
        run_with(make_engine, cmd, environment(), ended=ended)
    finally:
        if recorders and recorders[0].status is None:
            _remove(Path(output))  # CMD did not even start


def _recorded(engine: Engine, name: str | None) -> DaxDevice:
    if name is not None:
        return engine._find_device(name)
    devices = engine.devices
    if len(devices) == 1:
        return devices[0]
    shown = describe_devices((found.name, found.size) for found in devices)
    raise UsageError(f"one device is recorded, and there are: {shown}; name it by --device, or have one --region")


def _remove(directory: Path) -> None:
    for name in ("base", "log", "meta.json"):
        (directory / name).unlink(missing_ok=True)
    directory.rmdir()
