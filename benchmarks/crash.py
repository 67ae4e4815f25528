"""How fast are crash states tried: by a check in this process, and by a command."""

from __future__ import annotations

import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from harness import Row

from daxemu.pmem.explorer import explore
from daxemu.pmem.format import LOG_VERSION
from daxemu.pmem.writer import LogWriter

# 40 000 states a second.
BUDGET = 25.0

_SIZE = 1 << 20
_LINE = 64
_RECORD = 10  # lines; 1024 states at each fence


def _recording(path: Path, records: int) -> Path:
    """A log that grows by records of some lines, each made durable by one fence."""
    path.mkdir()
    meta = {
        "version": LOG_VERSION,
        "device": "dax0.0",
        "size": _SIZE,
        "align": 4096,
        "domain": "memory_controller",
    }
    (path / "meta.json").write_text(json.dumps(meta))
    (path / "base").touch()
    os.truncate(path / "base", _SIZE)
    with LogWriter(path / "log", _SIZE) as log:
        for record in range(records):
            for at in range(record * _RECORD * _LINE, (record + 1) * _RECORD * _LINE, _LINE):
                log.store(at, b"%d" % at + bytes(_LINE - len(b"%d" % at)))
                log.flush(at, _LINE)
            log.fence()
    return path


def measure(*, quick: bool) -> Iterator[Row]:
    """Processor time for the check in this process, so that whoever shares the machine does not matter."""
    with tempfile.TemporaryDirectory(prefix="daxemu-benchmark-") as directory:
        many = _recording(Path(directory, "many"), 20 if quick else 200)
        start = time.process_time()
        result = explore(many, lambda memory: zlib.crc32(memory[:4096]) is not None, limit=1 << _RECORD)
        each = (time.process_time() - start) / result.states * 1e6
        yield Row(
            "crash",
            "one state, check in this process",
            each,
            unit="µs",
            budget=BUDGET,
            detail=f"{result.states} states of 1 MiB, {1e6 / each:.0f} a second",
        )
        few = _recording(Path(directory, "few"), 1)
        result = explore(few, ["true", "{image}"], limit=50 if quick else 500)
        each = result.seconds / result.states * 1e3
        yield Row(
            "crash",
            "one state, true {image}",
            each,
            unit="ms",
            detail=f"{result.states} states, {1e3 / each:.0f} a second",
        )
