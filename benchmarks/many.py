"""Does it matter how many devices there are? Make and destroy one among many : one among ten."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median

from harness import Row, interleave, milliseconds, ratio

from daxemu import Engine
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.ports import Event
from daxemu.kernel.providers import find_provider
from daxemu.kernel.uevent import Uevent

BUDGET = 1.5

_FEW = 10
_BLOCK = 2 << 20


class _Nothing:
    """The outside of a model that nobody looks at, and the memory of its devices."""

    def create_backing(self, device: DevDax) -> _Nothing:  # noqa: ARG002
        return self

    def publish(self, event: Event) -> None:
        pass

    def uevent(self, event: Uevent) -> None:
        pass

    def log(self, level: int, text: str) -> None:
        pass

    def resize(self, size: int) -> None:
        pass

    def close(self) -> None:
        pass


def _model(stack: ExitStack, number: int) -> Callable[[], None]:
    core = DaxCore(_Nothing())
    core.boot()
    stack.callback(core.shutdown)
    size = (number + 2) * _BLOCK
    region = core.add_region(find_provider("hmem"), start=1 << 40, size=size, align=_BLOCK, idle=True)
    for _ in range(number):
        core.create_device(region, _BLOCK)

    def one() -> None:
        device = core.create_device(region, _BLOCK)
        core.bus.unbind(device)
        device.resize(0)
        core.delete_device(device)

    return one


def _engine(stack: ExitStack, number: int) -> Callable[[], None]:
    region = stack.enter_context(Engine()).add_region((number + 2) * _BLOCK, provider="hmem")
    for _ in range(number):
        region.create_device(_BLOCK)
    return lambda: region.create_device(_BLOCK).destroy()


def measure(*, quick: bool) -> Iterator[Row]:
    """The model by itself, then the engine with real memory files, as many as this process may open."""
    wanted = 1000 if quick else 10_000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    openable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - 200)
    for what, make, many in (("model", _model, wanted), ("engine", _engine, openable)):
        with ExitStack() as stack:
            turns = {"few": milliseconds(make(stack, _FEW)), "many": milliseconds(make(stack, many))}
            interleave(3, turns)
            samples = interleave(20 if quick else 50, turns)
        yield Row(
            "many",
            f"{what}: create+destroy one of {many} devices : one of {_FEW}",
            ratio(samples, "many", "few"),
            budget=BUDGET,
            detail=f"{median(samples['many']):.3f} ms : {median(samples['few']):.3f} ms",
        )
