"""Loads and stores through an emulated mapping : through a raw mapping of the same memory.

The raw one is of the very file that backs the device: other memory would be other pages, and
which pages a mapping gets matters more (±8 %) than who made it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from harness import Row, Samples, Worker, compile_program, interleave, ratio

from daxemu import DaxDevice, Engine
from daxemu.backing import BackingFile

BUDGET = 1.00
NOISE, QUICK_NOISE = 0.05, 0.15

_Way = tuple[Callable[..., "subprocess.Popen[str]"], str]  # what starts the program, and the path it maps

_SIZE = 64 << 20
_WORK = {
    "c": ("memcpy of 1 MiB blocks", 128),
    "s": ("random 8-byte stores", 2_000_000),
}


def backing_path(device: DaxDevice) -> Path:
    """The file behind a device, as this process has it open."""
    backing = device._device.backing
    assert isinstance(backing, BackingFile)
    return Path(f"/proc/{os.getpid()}/fd/{backing.fd}")


def worker(start: Callable[..., subprocess.Popen[str]], path: str, size: int) -> Worker:
    """Start the program that maps a device or file and works on it."""
    line = [compile_program("memory"), path, str(size)]
    return Worker(start(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))


def _measure(rounds: int, turn: int) -> Iterator[tuple[str, Samples]]:
    with ExitStack() as stack:
        device = stack.enter_context(Engine()).add_region(_SIZE).devices[0]
        raw: _Way = subprocess.Popen, str(backing_path(device))
        ways: dict[str, _Way] = {"raw": raw, "emulated": (device.popen, device.path), "again": raw}
        workers = {}
        for name in [*ways][turn % 3 :] + [*ways][: turn % 3]:
            start, path = ways[name]
            workers[name] = stack.enter_context(closing(worker(start, path, _SIZE)))
        for work, (_, count) in _WORK.items():
            turns = {name: partial(worker.ask, f"{work} {count}") for name, worker in workers.items()}
            interleave(1, turns)
            yield work, interleave(rounds, turns)


def measure(*, quick: bool) -> Iterator[Row]:
    """Both kinds of work, each time with new processes."""
    runs: dict[str, list[Samples]] = {}
    for turn in range(3 if quick else 9):
        for work, samples in _measure(7 if quick else 15, turn):
            runs.setdefault(work, []).append(samples)
    for work, all_samples in runs.items():
        value, noise = (
            statistics.median(ratio(samples, name, "raw") for samples in all_samples) for name in ("emulated", "again")
        )
        yield Row(
            "memory",
            f"{_WORK[work][0]}, 64 MiB",
            value,
            budget=BUDGET,
            noise=QUICK_NOISE if quick else NOISE,
            detail=f"raw against itself: {noise:.3f}",
        )
