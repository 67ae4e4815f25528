"""The programs of observations, how they are run, and what real kernels have answered."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from daxemu import Engine
from daxemu.spec import RegionSpec
from tests.oracle.machine import Answer, Job
from tests.oracle.topology import Topology

__all__ = ["PROGRAMS", "Program", "emulated", "machine", "recording"]

_RECORDED = Path(__file__).parents[1] / "programs" / "recorded"


class Program(NamedTuple):
    """A program of tests/programs, called as ``NAME /dev/dax0.0 ALIGNMENT``; ``stays`` is a job's."""

    name: str
    stays: bool = False

    def command(self, executable: str, topology: Topology) -> list[str]:
        return [executable, "/dev/dax0.0", str(topology.align)]

    def job(self, topology: Topology) -> Job:
        """What a guest does that has it in /programs."""
        return Job(self.name, self.command(f"/programs/{self.name}", topology), stays=self.stays)


_NAMES = ("vma", "nodes", "stores", "unbind", "opens", "fd_calls", "mmaps")
PROGRAMS = (*map(Program, _NAMES), Program("rebind", stays=True))


def machine(kernel: str, topology: Topology) -> Engine:
    """An emulated machine with ``dax0.0`` as a program of observations wants it: bound to device_dax."""
    engine = Engine(kernel=kernel, drivers=("device_dax",))
    try:
        for text in topology.regions:
            RegionSpec.parse(text).add_to(engine)
        engine.write_attribute("/sys/bus/dax/drivers/device_dax/new_id", "dax0.0")
    except BaseException:
        engine.close()
        raise
    return engine


def emulated(program: Program, executable: Path, kernel: str, topology: Topology) -> Answer:
    """What daxemu answers to a program."""
    with machine(kernel, topology) as engine:
        command = program.command(str(executable), topology)
        done = engine.run(command, capture_output=True, text=True, timeout=120, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def recording(program: Program, kernel: str, topology: Topology) -> Path:
    """The file with what a real kernel has answered."""
    return _RECORDED / f"{kernel}-{topology.name}" / f"{program.name}.txt"
