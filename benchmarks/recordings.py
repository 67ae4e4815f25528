"""Recordings for benchmarks: records of some lines, each made durable by one fence."""

from __future__ import annotations

import os
from pathlib import Path

from daxemu.pmem.description import describe, make_directory
from daxemu.pmem.format import LINE_SIZE
from daxemu.pmem.writer import LogWriter

__all__ = ["make_recording"]


def make_recording(path: Path, *, size: int, records: int, lines: int) -> Path:
    """A log that grows by records at even distances, from the begin again where the device ends."""
    make_directory(path)
    (path / "base").touch()
    os.truncate(path / "base", size)
    step = max(lines * LINE_SIZE, size // records // LINE_SIZE * LINE_SIZE)
    with LogWriter(path / "log", size) as log:
        for record in range(records):
            begin = record * step % (size - lines * LINE_SIZE) // LINE_SIZE * LINE_SIZE
            for at in range(begin, begin + lines * LINE_SIZE, LINE_SIZE):
                log.store(at, b"%-64d" % (record * size + at))
                log.flush(at, LINE_SIZE)
            log.fence()
    describe(path, device="dax0.0", size=size, align=4096, domain="memory_controller", sources=["api"])
    return path
