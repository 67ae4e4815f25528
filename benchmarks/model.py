"""How fast is the model by itself? A step of the state machine that tests it, invariants and all."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Row

# 50 000 steps a minute.
BUDGET = 1.2


def measure(*, quick: bool) -> Iterator[Row]:
    """Count the steps of a run, and its processor time: whoever shares the machine does not matter."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from hypothesis import settings
    from hypothesis.stateful import run_state_machine_as_test
    from tests.kernel.test_state_machine import DaxMachine

    options = settings(database=None, deadline=None, max_examples=50 if quick else 300, stateful_step_count=50)
    DaxMachine.steps = 0
    start = time.process_time()
    run_state_machine_as_test(DaxMachine, settings=options)
    seconds = time.process_time() - start
    yield Row(
        "model",
        "one step of the state machine",
        seconds / DaxMachine.steps * 1e3,
        unit="ms",
        budget=BUDGET,
        detail=f"{DaxMachine.steps} steps, {DaxMachine.steps / seconds * 60:.0f} a minute",
    )
