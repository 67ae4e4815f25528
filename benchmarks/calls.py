"""System calls that have nothing to do with dax, under the preload library : without."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from harness import Row, Samples, Worker, compile_program, interleave, ratio

from daxemu import Engine

BUDGET = 1.05
NOISE, QUICK_NOISE = 0.03, 0.08  # two identical programs differ by as much

_CALLS = {
    "o": ("open+read+close", 2000, BUDGET),
    "s": ("stat", 6000, BUDGET),
    "m": ("mmap+munmap", 2000, BUDGET),
    "w": ("write", 10000, BUDGET),
    "d": ("stat of /dev/null: may be ours, is not", 4000, None),
}


def _environments(engine: Engine, directory: Path) -> dict[str, dict[str, str]]:
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    found = {"plain": plain, "again": plain, "daxemu": plain | engine.environ()}
    if shutil.which("umockdev-wrapper"):
        for name in ("dev", "sys"):
            (directory / name).mkdir()
        found["umockdev"] = plain | {"LD_PRELOAD": "libumockdev-preload.so.0", "UMOCKDEV_DIR": str(directory)}
    return found


def _start(stack: ExitStack, environment: dict[str, str], directory: str) -> Worker:
    process = subprocess.Popen(
        [compile_program("calls"), directory],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return stack.enter_context(closing(Worker(process)))


def _measure(rounds: int, threads: int) -> Iterator[tuple[str, Samples]]:
    """Samples of every call; one set of processes for all of them, alike in memory layout but not the same."""
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        engine.add_region("64M")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="daxemu-benchmark-"))
        environments = _environments(engine, Path(directory))
        workers = {name: _start(stack, env, directory) for name, env in environments.items()}
        for call, (_, count, _) in _CALLS.items():
            request = f"{call} {count // threads} {threads}"
            turns = {name: partial(worker.ask, request) for name, worker in workers.items()}
            interleave(2, turns)
            yield call, interleave(rounds, turns)


def measure(*, quick: bool) -> Iterator[Row]:
    """Each call, with one thread and with two."""
    for threads in (1, 2):
        runs: dict[str, list[Samples]] = {}
        for _ in range(3 if quick else 9):  # new processes: their layout in memory matters as well
            for call, samples in _measure(15 if quick else 40, threads):
                runs.setdefault(call, []).append(samples)
        for call, all_samples in runs.items():
            what, _, budget = _CALLS[call]
            value = {
                name: statistics.median(ratio(samples, name, "plain") for samples in all_samples)
                for name in all_samples[0]
            }
            yield Row(
                "calls",
                f"{what}, {threads} thread{'s' * (threads > 1)}",
                value["daxemu"],
                budget=budget,
                noise=QUICK_NOISE if quick else NOISE,
                peer=value.get("umockdev"),
                detail=f"plain against itself: {value['again']:.3f}",
            )
