"""What the pytest plugin costs: a device for one test, and its import in runs that need none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from statistics import median

from harness import Row, difference, interleave, milliseconds

from daxemu import Engine

DEVICE_BUDGET = 1.0
IMPORT_BUDGET = 10.0


def _device() -> None:
    """What ``dax_device`` does for each test."""
    with Engine() as engine:
        engine.add_region("64M")


def _device_in_session() -> None:
    """The same for a test that starts programs."""
    with Engine() as engine:
        engine.add_region("64M")
        engine.environ()


def _python(code: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def measure(*, quick: bool) -> Iterator[Row]:
    """Set-up and tear-down in this process; the import in new ones."""
    turns = {"alone": milliseconds(_device), "session": milliseconds(_device_in_session)}
    interleave(3, turns)
    samples = interleave(100 if quick else 500, turns)
    yield Row("fixture", "device: set-up + tear-down", median(samples["alone"]), unit="ms", budget=DEVICE_BUDGET)
    yield Row("fixture", "device with its session for programs", median(samples["session"]), unit="ms")
    samples = interleave(
        10 if quick else 60,
        {
            "pytest": milliseconds(_python("import pytest")),
            "plugin": milliseconds(_python("import pytest, daxemu.pytest_plugin")),
        },
    )
    yield Row(
        "fixture",
        "import pytest: what daxemu.pytest_plugin adds",
        difference(samples, "plugin", "pytest"),
        unit="ms",
        budget=IMPORT_BUDGET,
        detail=f"{median(samples['plugin']):.0f} ms − {median(samples['pytest']):.0f} ms",
    )
