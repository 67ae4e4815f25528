"""How long kill() takes until every client's mappings are revoked, and revive() until they are back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from statistics import median

from harness import Row, Worker, compile_program, milliseconds

from daxemu import Engine
from daxemu.units import format_size

_SIZES = (2 << 20, 64 << 20)
_CLIENTS = (1, 10)


def _measure(size: int, clients: int, rounds: int) -> dict[str, float]:
    with ExitStack() as stack:
        device = stack.enter_context(Engine()).add_region(size).devices[0]
        command = [str(compile_program("mapper")), device.path, str(size)]
        workers = [
            stack.enter_context(
                closing(Worker(device.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)))
            )
            for _ in range(clients)
        ]
        samples: dict[str, list[float]] = {"kill": [], "revive": []}
        for _ in range(rounds):
            for worker in workers:
                worker.ask("touch")  # every page is mapped when the revocation begins
            samples["kill"].append(milliseconds(device.kill)())
            samples["revive"].append(milliseconds(device.revive)())
        return {name: median(values) for name, values in samples.items()}


def measure(*, quick: bool) -> Iterator[Row]:
    """For information: there is no budget."""
    for size in _SIZES:
        for clients in _CLIENTS:
            values = _measure(size, clients, 10 if quick else 60)
            for name, value in values.items():
                what = f"{name}() with {clients} client{'s' * (clients > 1)} of {format_size(size)}"
                yield Row("revoke", what, value, unit="ms")
