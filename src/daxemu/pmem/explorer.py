"""Explore the states that a power failure may leave: try a check on each, minimise what fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import ExitStack, closing

from daxemu.errors import UsageError
from daxemu.pmem.checks import Check, refuse_check, show_check
from daxemu.pmem.exploration import Exploration, Parts
from daxemu.pmem.findings import find
from daxemu.pmem.orders import parse_order
from daxemu.pmem.points import Points, crash_points, split
from daxemu.pmem.reader import Recording
from daxemu.pmem.states import CrashImage, State, parse_state
from daxemu.pmem.walker import Task, Walker
from daxemu.pmem.workers import explored_by, explored_by_processes, explored_here

__all__ = ["DEFAULT_LIMIT", "Progress", "explore"]

DEFAULT_LIMIT = 1000
Progress = Callable[[Exploration, int], object]


def _tried(task: Task, name: State | str) -> Parts:
    """A single state."""
    with closing(Walker(task)) as walker:
        yield walker.try_state(parse_state(name) if isinstance(name, str) else name)


def _refuse_more_than(limit: int, recording: Recording, points: Iterable[int]) -> None:
    """Order full means all: that there are too many is said before any is tried."""
    with closing(CrashImage(recording)) as image:
        most, point = 0, 0
        for at in points:
            image.advance(at)
            if image.states.count() > most:
                most, point = image.states.count(), at
    if most > limit:
        number = f"{most}" if most < (1 << 64) - 1 else "2**64 or more"
        raise UsageError(
            f"order full: there are {number} states before event {point}, and the limit is {limit}; give a higher "
            "limit, or order auto, which tries a sample of so many"
        )


def explore(
    recording: Recording | str | os.PathLike[str],
    check: Check,
    *,
    points: Points = "fences",
    order: str = "auto",
    limit: int = DEFAULT_LIMIT,
    seed: int = 0,
    jobs: int = 1,
    executor: Executor | None = None,
    timeout: float = 60.0,
    state: State | str | None = None,
    progress: Progress | None = None,
) -> Exploration:
    """Try ``check`` on every state that a power failure during the recording may have left.

    The power fails just before every fence and behind the last event; or at every flush too, at every marker, or
    every N events, as ``points`` says. Of each line of 64 bytes that is not durable then, any store since it
    was may be what is left. Are there more states than ``limit`` at a crash point, as many are tried: no line,
    all lines, each alone, all but each, and random ones by ``seed``. With ``order="full"`` more are refused; the orders
    of pmreorder, by its names or ours, try fewer, whatever the limit.

    ``check`` is a callable that gets the bytes of the device, for reading, and the markers before the crash if
    it has a second parameter; False or an exception is a failure. Or a command: ``{image}`` in it is a file
    that holds the state; without it, its ``/dev/dax0.0`` does. Other than exit status 0, or no end within
    ``timeout`` seconds, is a failure. A state that was there before, with the same markers, is not checked again.

    With ``jobs``, as many processes share the crash points; with ``executor``, any of concurrent.futures does
    (``jobs`` then says how many workers it has). ``state`` is a name that a report gives: only this one is
    tried. ``progress`` is called with what there is so far and the number of crash points there are.
    UsageError: no recording, no such check, points, order, state.
    """
    begin = time.monotonic()
    if limit < 1:
        raise UsageError(f"limit {limit}: at least one state is tried at each crash point")
    order = parse_order(order)
    refuse_check(check)
    with ExitStack() as after:
        if not isinstance(recording, Recording):
            recording = after.enter_context(Recording(recording))
        task = Task(os.urandom(8).hex(), str(recording.path.absolute()), check, points, order, limit, seed, timeout)
        at = crash_points(recording, points)
        result = Exploration(recording.path, show_check(check), order)
        total = len(at) if state is None else 1
        if state is None and order == "full":
            _refuse_more_than(limit, recording, at)
        if state is not None:
            parts = _tried(task, state)
        elif executor is not None:
            result.jobs = jobs
            parts = explored_by(executor, task, split(0, total, jobs))
        elif jobs > 1 and total > 1:
            result.jobs = min(jobs, total)
            parts = explored_by_processes(result.jobs, task, split(0, total, jobs))
        else:
            parts = explored_here(task, [(0, total)])
        after.enter_context(closing(parts))
        for part in parts:
            result.add(part)
            result.seconds = time.monotonic() - begin
            if progress:
                progress(result, total)
        result.failures.sort(key=lambda failure: (len(failure.missing), failure.state.point))
        result.findings = find(recording)
    result.seconds = time.monotonic() - begin
    return result
