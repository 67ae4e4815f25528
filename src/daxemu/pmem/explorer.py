"""Explore the states that a power failure may leave: try a check on each, minimise what fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from typing import Any

from daxemu import __version__
from daxemu.errors import UsageError
from daxemu.pmem.checks import Check, refuse_check, show_check
from daxemu.pmem.exploration import Exploration, Parts
from daxemu.pmem.findings import find
from daxemu.pmem.journal import Journal
from daxemu.pmem.orders import orders_at, parse_order
from daxemu.pmem.points import Points, crash_points, refuse_points, split
from daxemu.pmem.reader import Recording
from daxemu.pmem.states import CrashImage, State, parse_state
from daxemu.pmem.walker import Task, Walker
from daxemu.pmem.workers import explored_by, explored_by_processes, explored_here

__all__ = ["DEFAULT_LIMIT", "Progress", "explore", "refuse_options"]

DEFAULT_LIMIT = 1000
_LONGEST = 1_000_000  # seconds that are waited for a check
Progress = Callable[[Exploration, int], object]


def refuse_options(
    check: Check,
    *,
    points: Points = "fences",
    order: str = "auto",
    limit: int = DEFAULT_LIMIT,
    jobs: int = 1,
    dask: Any = None,
    timeout: float = 60.0,
    **_: object,
) -> None:
    """Raise UsageError for options of ``explore`` that no recording can be explored with."""
    refuse_points(points)
    if limit < 1:
        raise UsageError(f"limit {limit}: at least one state is tried at each crash point")
    if jobs < 1:
        raise UsageError(f"jobs {jobs}: at least one process tries")
    if not 0 < timeout <= _LONGEST:
        raise UsageError(f"timeout {timeout:g}: a check has more than 0 seconds, and at most {_LONGEST}")
    parse_order(order)
    if dask is None:
        refuse_check(check)


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


def _options(recording: Recording, task: Task, check: str) -> dict[str, Any]:
    """What has to be the same for what is done to be worth anything."""
    return {
        "check": f"{task.check.__module__}.{check}" if callable(task.check) else check,
        "points": task.points,
        "order": task.order,
        "limit": task.limit,
        "seed": task.seed,
        "timeout": task.timeout,
        "events": recording.nr_events,
        "version": __version__,
    }


def _cluster() -> Any:
    try:
        from daxemu.pmem import cluster
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("dask", "distributed"):
            raise
        raise UsageError("dask is not installed here: pip install 'daxemu[dask]'") from None
    return cluster


def _ranges(done: list[tuple[int, int]], total: int, jobs: int) -> Iterator[tuple[int, int]]:
    """What is left of the crash points, in parts."""
    at = 0
    for begin, end in [*sorted(done), (total, total)]:
        if at < begin:
            yield from split(at, begin, jobs)
        at = max(at, end)


def _finished(result: Exploration, recording: Recording, begin: float) -> Exploration:
    result.failures.sort(key=lambda failure: (failure.unsteady, len(failure.missing), failure.state.point))
    result.findings = find(recording)
    result.seconds = time.monotonic() - begin
    return result


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
    dask: str | Any | None = None,
    timeout: float = 60.0,
    state: State | str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Exploration:
    """Try ``check`` on every state that a power failure during the recording may have left.

    The power fails just before every fence and behind the last event; or at every flush too, at every marker, or
    every N events, as ``points`` says. Of each line of 64 bytes that is not durable then, any store since it
    was may be what is left. Are there more states than ``limit`` at a crash point, as many are tried: no line,
    all lines, each alone, all but each, and random ones by ``seed``. With ``order="full"`` more are refused; the orders
    of pmreorder, by its names or ours, try fewer, whatever the limit. ``no-check,commit=full`` has another order
    between the markers ``commit.BEGIN`` and ``commit.END``.

    ``check`` is a callable that gets the bytes of the device, for reading, and the markers before the crash if
    it has a second parameter; False or an exception is a failure. Or a command: ``{image}`` in it is a file
    that holds the state; without it, its ``/dev/dax0.0`` does. Other than exit status 0, or no end within
    ``timeout`` seconds, is a failure; a callable is waited for. A state that was there before, with the same
    markers, is not checked again; one that fails is, before it is reported: if it passes then, the failure is
    ``unsteady``.

    With ``jobs``, as many processes share the crash points; with ``executor``, any of concurrent.futures does
    (``jobs`` then says how many workers it has). With ``dask``, the address of a scheduler or a Client, a cluster
    does, to which the recording is sent; a command is one that its workers have. ``state`` is a name that a report
    gives: only this one is tried.

    An exploration that is interrupted keeps what is done beside the recording: with ``resume``, and all else but
    ``jobs`` the same, it goes on there, to the same result; without, it begins anew. ``progress`` is called with
    what there is so far and the number of crash points there are.
    UsageError: no recording, no such check, points, order, state; what was interrupted had other options.
    """
    begin = time.monotonic()
    done: list[tuple[int, int]] = []
    refuse_options(check, points=points, order=order, limit=limit, jobs=jobs, dask=dask, timeout=timeout)
    order = parse_order(order)
    with ExitStack() as after:
        if not isinstance(recording, Recording):
            recording = after.enter_context(Recording(recording))
        task = Task(os.urandom(8).hex(), str(recording.path.absolute()), check, points, order, limit, seed, timeout)
        at = crash_points(recording, points)
        result = Exploration(recording.path, show_check(check), order)
        if state is not None:
            walker = after.enter_context(closing(Walker(task)))
            result.add(walker.try_state(parse_state(state) if isinstance(state, str) else state))
            result.seconds = time.monotonic() - begin
            if progress:
                progress(result, 1)
            return _finished(result, recording, begin)
        total = len(at)
        orders = orders_at(order, recording, at)
        if "full" in orders:
            _refuse_more_than(
                limit, recording, [point for point, tried in zip(at, orders, strict=True) if tried == "full"]
            )
        journal = after.enter_context(Journal(recording.path, _options(recording, task, result.check)))
        if resume:
            for part, seconds in journal.resume():
                result.add(part)
                done.append((part.begin, part.end))
                begin = time.monotonic() - seconds
            result.resumed = result.points
        if dask is not None:
            cluster = _cluster()
            client, result.workers, jobs = after.enter_context(cluster.connected(dask))
        ranges = list(_ranges(done, total, jobs))
        parts: Parts
        if dask is not None:
            result.jobs = jobs
            parts = cluster.explored_on(client, task, ranges)
        elif executor is not None:
            result.jobs = jobs
            parts = explored_by(executor, task, ranges)
        elif jobs > 1 and len(ranges) > 1:
            result.jobs = min(jobs, len(ranges))
            parts = explored_by_processes(result.jobs, task, ranges)
        else:
            parts = explored_here(task, ranges)
        after.enter_context(closing(parts))
        try:
            for part in parts:
                result.add(part)
                result.seconds = time.monotonic() - begin
                journal.add(part, result.seconds)
                if progress:
                    progress(result, total)
        except BaseException as error:
            if journal.kept:
                error.add_note(f"{result.points} of {total} crash points are kept; resume goes on with the others")
            raise
        journal.remove()
        return _finished(result, recording, begin)
