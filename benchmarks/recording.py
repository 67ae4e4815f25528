"""How much slower are programs while a device is recorded."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from harness import Row, compile_program, interleave, ratio

from daxemu import Engine
from daxemu.pmem.points import Scan
from daxemu.pmem.reader import Recording

_WORK = {
    # How many, the budget, and what pmemcheck takes.
    "tree": ("libpmemobj tree, 64 MiB", 10_000, 1.5, "pmemcheck: 24"),
    "log": ("libpmem log, 16 MiB", 60_000, 2.0, "pmemcheck: 20"),
}
_SIZES = {"tree": "64M", "log": "16M"}


def measure(*, quick: bool) -> Iterator[Row]:
    """Processor time of a libpmemobj and of a libpmem program, recorded : not recorded."""
    try:
        program = compile_program("recording", "-lpmem", "-lpmemobj")
    except subprocess.CalledProcessError:
        return  # there is no PMDK to compile with
    for kind, (what, count, budget, detail) in _WORK.items():
        arguments = [program, kind, "/dev/dax0.0", str(count // 4 if quick else count)]
        variants = {
            "plain": partial(_run, arguments, kind),
            "recorded": partial(_run, arguments, kind, scan="none"),
            "looked at": partial(_run, arguments, kind, scan="fences"),
        }
        samples = interleave(3 if quick else 9, variants)
        yield Row(
            "recording", f"{what}, recorded : not", ratio(samples, "recorded", "plain"), budget=budget, detail=detail
        )
        yield Row("recording", f"{what}, looked at before each fence : not", ratio(samples, "looked at", "plain"))
        yield from _what_is_kept(arguments, kind, what)


def _what_is_kept(arguments: list[object], kind: str, what: str) -> Iterator[Row]:
    """Of a recording in a directory, without looks at lines that nobody flushes."""
    with tempfile.TemporaryDirectory(prefix="daxemu-benchmark-") as directory, Engine() as engine:
        path = Path(directory, "recording")
        device = engine.add_region(_SIZES[kind]).devices[0]
        with device.record(path, scan="none"):
            device.run([*map(str, arguments)], check=True, capture_output=True)
            start = time.process_time()
        seconds = time.process_time() - start
        with Recording(path) as recording:
            events = recording.nr_events
        size = (path / "log").stat().st_size
    yield Row("recording", f"{what}: log, an event", size / events, unit="B", detail=f"{events} events")
    yield Row("recording", f"{what}: its end, a million events", seconds / events * 1e9, unit="ms")


def _run(arguments: list[object], kind: str, *, scan: Scan | None = None) -> float:
    """Seconds of processor time, of a program on a new device; it is recorded, if SCAN says how."""
    with Engine() as engine:
        device = engine.add_region(_SIZES[kind]).devices[0]
        if scan is not None:
            device.record(scan=scan)
        done = device.run([*map(str, arguments)], check=True, capture_output=True, text=True)
        return float(done.stdout)
