"""How fast are crash states tried: by a check in this process, and by a command."""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from harness import Row
from recordings import make_recording

from daxemu.pmem.explorer import explore

# 40 000 states a second.
BUDGET = 25.0

_SIZE = 1 << 20
_LINES = 10  # of a record; 1024 states at each fence


def measure(*, quick: bool) -> Iterator[Row]:
    """Processor time for the check in this process, so that whoever shares the machine does not matter."""
    with tempfile.TemporaryDirectory(prefix="daxemu-benchmark-") as directory:
        many = make_recording(Path(directory, "many"), size=_SIZE, records=20 if quick else 200, lines=_LINES)
        start = time.process_time()
        result = explore(many, lambda memory: zlib.crc32(memory[:4096]) is not None, limit=1 << _LINES)
        each = (time.process_time() - start) / result.states * 1e6
        yield Row(
            "crash",
            "one state, check in this process",
            each,
            unit="µs",
            budget=BUDGET,
            detail=f"{result.states} states of 1 MiB, {1e6 / each:.0f} a second",
        )
        few = make_recording(Path(directory, "few"), size=_SIZE, records=1, lines=_LINES)
        result = explore(few, ["true", "{image}"], limit=50 if quick else 500)
        each = result.seconds / result.states * 1e3
        yield Row(
            "crash",
            "one state, true {image}",
            each,
            unit="ms",
            detail=f"{result.states} states, {1e3 / each:.0f} a second",
        )
