"""Recordings for tests, written event by event."""

import os

from daxemu.pmem.description import describe, make_directory
from daxemu.pmem.writer import LogWriter

LINE = 64


def make_recording(path, events, size=1 << 20, base=b"", domain="memory_controller", **meta):
    """A recording of ``events``: (name of a method of LogWriter, arguments…)."""
    make_directory(path)
    (path / "base").write_bytes(base)
    os.truncate(path / "base", size)
    log = LogWriter(path / "log", size)
    for name, *arguments in events:
        options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        getattr(log, name)(*arguments, **options)
    log.close()
    describe(path, device="dax0.0", size=size, align=4096, domain=domain, sources=["api"], **meta)
    return path


def line(text):
    return text.encode().ljust(LINE, b".")
