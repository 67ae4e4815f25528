"""What it costs to start a program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

from harness import Row, difference, interleave, milliseconds, ratio

from daxemu import Engine

RUN_BUDGET = 3.0
PRELOAD_BUDGET = 1.0

_BESIDE_PYTHON = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
_DAXEMU = shutil.which("daxemu", path=_BESIDE_PYTHON) or "daxemu"
_TRUE = "/bin/true"


def _run(*command: str | Path) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True)


def _spawn(environment: Mapping[str, str]) -> Callable[[], object]:
    """Start and wait with as little of Python as there can be."""

    def spawn() -> None:
        os.waitpid(os.posix_spawn(_TRUE, [_TRUE], environment), 0)

    return spawn


def measure(*, quick: bool) -> Iterator[Row]:
    """``daxemu run`` as a whole, then what the preload library alone adds."""
    samples = interleave(
        10 if quick else 40,
        {
            "python": milliseconds(_run(sys.executable, "-c", "pass")),
            "daxemu": milliseconds(_run(_DAXEMU, "run", "--", "true")),
        },
    )
    yield Row(
        "start",
        "daxemu run -- true : python -c pass",
        ratio(samples, "daxemu", "python"),
        budget=RUN_BUDGET,
        detail=f"{median(samples['daxemu']):.0f} ms : {median(samples['python']):.0f} ms",
    )
    with Engine() as engine:
        engine.add_region("64M")
        plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        samples = interleave(
            200 if quick else 1000,
            {
                "plain": milliseconds(_spawn(plain)),
                "preload": milliseconds(_spawn(plain | engine.environ())),
            },
        )
    yield Row(
        "start",
        "true: what the preload library adds",
        difference(samples, "preload", "plain"),
        unit="ms",
        budget=PRELOAD_BUDGET,
        detail=f"{median(samples['preload']):.2f} ms − {median(samples['plain']):.2f} ms",
    )
