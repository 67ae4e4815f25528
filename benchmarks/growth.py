"""How an exploration grows: its time with the events and with the size of the pool, its memory with the events."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from harness import Row, interleave, ratio
from recordings import make_recording

from daxemu.pmem.explorer import explore
from daxemu.pmem.reader import Recording

# Linear is 1: time that 10 times the events take, divided by 10; and 16 times the pool at equal events.
BUDGET, NOISE = 1.2, 0.2

_EVENTS = 5  # of a record: two lines stored and flushed, one fence
_POOL = 1 << 20


def measure(*, quick: bool) -> Iterator[Row]:
    """Of processor time, in processes of their own; every state is tried, by a check that is nothing."""
    records = 50_000 if quick else 200_000
    with tempfile.TemporaryDirectory(prefix="daxemu-benchmark-") as directory:
        tenth, whole, large = (
            make_recording(Path(directory, name), size=size, records=count, lines=2)
            for name, size, count in (
                ("tenth", _POOL, records // 10),
                ("whole", _POOL, records),
                ("large", 16 * _POOL, records),
            )
        )
        seconds = {path.name: partial(_seconds, path) for path in (tenth, whole, large)}
        samples = interleave(3 if quick else 7, seconds)
        events = records * _EVENTS
        yield Row(
            "growth",
            "exploration, 10 × the events : 10 × the time",
            ratio(samples, "whole", "tenth") / 10,
            budget=BUDGET,
            noise=NOISE,
            detail=f"{events} events, {min(samples['whole']) / events * 1e6:.2f} µs each",
        )
        yield Row(
            "growth",
            "exploration, pool of 16 MiB : 1 MiB",
            ratio(samples, "large", "whole"),
            budget=BUDGET,
            noise=NOISE,
            detail=f"{events} events each",
        )
        log = (whole / "log").stat().st_size
        memory = (_peak(whole) - _peak(tenth)) / (events * 0.9) * 1e6
        yield Row(
            "growth",
            "exploration, memory for a million events",
            memory / (1 << 20),
            unit="MiB",
            detail=f"of which the log, mapped, {log / events * 1e6 / (1 << 20):.0f}",
        )
        yield Row("growth", "open a million events", min(_opened(whole) for _ in range(5)) / events * 1e9, unit="ms")


def _opened(path: Path) -> float:
    start = time.process_time()
    Recording(path).close()
    return time.process_time() - start


def _run(path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, path], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _seconds(path: Path) -> float:
    return _run(path)["seconds"]


def _peak(path: Path) -> float:
    return _run(path)["peak"]


def _explore(path: str) -> None:
    """Tell how long an exploration takes in this process, and how much memory it had at most."""
    start = time.process_time()
    explore(path, lambda _: True)
    seconds = time.process_time() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps({"seconds": seconds, "peak": int(status["VmHWM"].split()[0]) * 1024}))


if __name__ == "__main__":
    _explore(sys.argv[1])
