"""The same machines, emulated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from daxemu import Engine
from daxemu.spec import RegionSpec
from tests.oracle.machine import Answer
from tests.oracle.topology import Topology

__all__ = ["answer", "machine"]


def machine(kernel: str, topology: Topology) -> Engine:
    """A machine as it is after boot, without kmem."""
    engine = Engine(kernel=kernel, drivers=("device_dax",))
    try:
        for text in topology.regions:
            RegionSpec.parse(text).add_to(engine)
    except BaseException:
        engine.close()
        raise
    return engine


def answer(engine: Engine, command: Iterable[str | Path], stdin: str = "") -> Answer:
    """What a command says on it."""
    done = engine.run(list(map(str, command)), input=stdin, capture_output=True, text=True, timeout=300, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)
