"""How long kill() takes until every client's mappings are revoked, and revive() until they are back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from statistics import median

from harness import Row, Worker, compile_program, interleave, milliseconds, ratio

from daxemu import Engine
from daxemu.device import DaxDevice
from daxemu.units import format_size

_SIZES = (2 << 20, 64 << 20)
_CLIENTS = (1, 10, 100)


def _mapped(stack: ExitStack, size: int, clients: int) -> tuple[DaxDevice, list[Worker]]:
    """A device on a machine of its own, and the clients that map it."""
    device = stack.enter_context(Engine()).add_region(size).devices[0]
    command = [str(compile_program("mapper")), device.path, str(size)]
    pipe = subprocess.PIPE
    workers = [
        stack.enter_context(closing(Worker(device.popen(command, stdin=pipe, stdout=pipe, text=True))))
        for _ in range(clients)
    ]
    return device, workers


def _kill(device: DaxDevice, workers: list[Worker], revivals: list[float]) -> Callable[[], float]:
    def turn() -> float:
        for worker in workers:
            worker.ask("touch")  # every page is mapped when the revocation begins
        killed = milliseconds(device.kill)()
        revivals.append(milliseconds(device.revive)())
        return killed

    return turn


def measure(*, quick: bool) -> Iterator[Row]:
    """For information: there is no budget. More clients should cost as much more, not the square of it."""
    for size in _SIZES:
        revivals: dict[int, list[float]] = {clients: [] for clients in _CLIENTS}
        with ExitStack() as stack:
            variants = {
                str(clients): _kill(*_mapped(stack, size, clients), revivals[clients])
                for clients in (_CLIENTS if size == _SIZES[0] else _CLIENTS[:2])
            }
            samples = interleave(10 if quick else 60, variants)
        for name, values in samples.items():
            what = f"{name} client{'s' * (name != '1')} of {format_size(size)}"
            yield Row("revoke", f"kill() with {what}", median(values) * 1e3, unit="µs")
            yield Row("revoke", f"revive() with {what}", median(revivals[int(name)]) * 1e3, unit="µs")
            if name != "1":
                yield Row("revoke", f"kill() with {what} : with 1", ratio(samples, name, "1"))
