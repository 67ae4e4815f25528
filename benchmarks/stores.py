"""Backing stores side by side: what their pages cost, and that the emulation adds nothing to it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from harness import Row, interleave, ratio
from memory import BUDGET, NOISE, QUICK_NOISE, backing_path, worker

from daxemu import Engine
from daxemu.plugins import registered_stores

_SIZE = 256 << 20
_FIRST = "tmpfs:memfd"  # pages of 4 KiB: what the others are compared with
_WORK = {"s": ("random 8-byte stores", 1_000_000), "l": ("dependent 8-byte loads", 500_000)}


def _backends() -> list[str]:
    """Those that work here; hugetlbfs needs pages: sysctl vm.nr_hugepages=300."""
    named = {"tmpfs": [_FIRST, "tmpfs:huge"], "file": []}
    found = []
    for store in registered_stores():
        for backend in named.get(store.name, [store.name]):
            if store.probe(backend.partition(":")[2]).available:
                found.append(backend)
    return found


def measure(*, quick: bool) -> Iterator[Row]:
    """Every store that works here: emulated to raw, and its latency to that of 4 KiB pages."""
    noise = QUICK_NOISE if quick else NOISE
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        ways: dict[str, tuple[Callable[..., Any], str]] = {}
        for backend in _backends():
            device = engine.add_region(_SIZE, backend=backend).devices[0]
            ways[backend] = (device.popen, device.path)
            ways[f"{backend} raw"] = (subprocess.Popen, str(backing_path(device)))
        workers = {name: stack.enter_context(closing(worker(*way, _SIZE))) for name, way in ways.items()}
        for work, (what, count) in _WORK.items():
            turns = {name: partial(program.ask, f"{work} {count}") for name, program in workers.items()}
            interleave(1, turns)
            samples = interleave(5 if quick else 25, turns)
            for backend in ways:
                if f"{backend} raw" not in ways:
                    continue
                latency = min(samples[backend])
                compared = ratio(samples, backend, _FIRST)
                yield Row(
                    "stores",
                    f"{what}, 256 MiB, {backend} : raw",
                    ratio(samples, backend, f"{backend} raw"),
                    budget=BUDGET,
                    noise=noise,
                    detail=f"{latency:.1f} ns; to pages of 4 KiB {compared:.2f}",
                )
