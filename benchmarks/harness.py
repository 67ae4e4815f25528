"""What the benchmarks share: a row of the table, programs, and measuring side by side.

Machines are noisy and shared, so no number stands alone: the variants that are compared take
turns within one run, and what counts is the ratio between turns that follow each other.
"""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = [
    "Row",
    "Samples",
    "Worker",
    "compile_program",
    "difference",
    "interleave",
    "milliseconds",
    "ratio",
]

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Row:
    """One line of the table. ``noise`` is what the verdict allows on top of the budget."""

    name: str
    what: str
    value: float
    unit: str = "×"
    budget: float | None = None
    noise: float = 0.0
    peer: float | None = None
    detail: str = ""

    @property
    def kept(self) -> bool | None:
        """Is the budget kept? None where there is none."""
        return None if self.budget is None else self.value <= self.budget + self.noise


def interleave(rounds: int, variants: Mapping[str, Callable[[], float]]) -> Samples:
    """Take one sample of each variant a round, each round beginning with another one."""
    names = list(variants)
    samples: Samples = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(variants[name]())
    return samples


def ratio(samples: Samples, name: str, base: str) -> float:
    """Median over the rounds of one variant's sample : the other's of the same round."""
    return statistics.median(a / b for a, b in zip(samples[name], samples[base], strict=True))


def difference(samples: Samples, name: str, base: str) -> float:
    """Median over the rounds of one variant's sample − the other's of the same round."""
    return statistics.median(a - b for a, b in zip(samples[name], samples[base], strict=True))


def milliseconds(function: Callable[[], object]) -> Callable[[], float]:
    """Turn a function into one that returns how long it took."""

    def timed() -> float:
        start = time.perf_counter()
        function()
        return (time.perf_counter() - start) * 1e3

    return timed


@cache
def compile_program(name: str, *libraries: str) -> Path:
    """Compile a C file beside this one with the compiler that Python was built for, or cc."""
    directory = tempfile.TemporaryDirectory(prefix="daxemu-benchmark-")
    _kept.append(directory)
    program = Path(directory.name) / name
    source = Path(__file__).with_name(f"{name}.c")
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[:1]
    subprocess.run([*compiler, "-O2", "-pthread", "-o", program, source, *libraries], check=True)
    return program


_kept: list[tempfile.TemporaryDirectory[str]] = []  # until the run ends


class Worker:
    """A program that answers each line with a number."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, request: str) -> float:
        """Send a request; return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()
