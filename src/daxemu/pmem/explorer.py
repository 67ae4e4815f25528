"""Explore the states that a power failure may leave: try a check on each, minimise what fails."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path

from daxemu.errors import UsageError
from daxemu.pmem.checks import Check, CommandCheck, is_told_markers, reason_of, refuse_check, show_check
from daxemu.pmem.findings import Finding, find
from daxemu.pmem.minimise import Choice, minimise
from daxemu.pmem.points import Points, chunks, crash_points
from daxemu.pmem.reader import Recording
from daxemu.pmem.states import CrashImage, State, parse_state

__all__ = ["DEFAULT_LIMIT", "CrashFailure", "Exploration", "MissingLine", "Progress", "explore"]

DEFAULT_LIMIT = 1000
_KEPT = 256  # of the failing states of one crash point, to take the one with the fewest missing lines


@dataclass(frozen=True)
class MissingLine:
    """A line of 64 bytes that is older than it could be.

    ``holds`` is 0 for what was durable, 1 and up for one of ``stores`` since; ``seq`` and ``site`` are those
    of the newest. One that is ``observed`` was found at ``site``, and stored before.
    """

    offset: int
    holds: int
    stores: int
    seq: int
    site: int
    observed: bool


@dataclass(frozen=True)
class CrashFailure:
    """A state that fails with the fewest lines missing, at the crash point before event ``state.point``.

    ``states`` failed there; ``reason`` is the check's for this one, ``markers`` are the last before it.
    """

    state: State
    reason: str
    missing: tuple[MissingLine, ...]
    markers: tuple[str, ...]
    states: int


@dataclass
class Exploration:
    """What came of it: ``states`` were checked at ``points`` crash points, ``failed`` of them failed.

    ``sampled`` crash points had more states than the limit. ``failures`` has one for each crash point that
    has any; ``findings`` are what the recording shows without any check.
    """

    recording: Path
    check: str
    points: int = 0
    sampled: int = 0
    states: int = 0
    failed: int = 0
    failures: list[CrashFailure] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Has no state failed?"""
        return not self.failed


Progress = Callable[[Exploration, int], object]


@dataclass(frozen=True)
class _Task:
    key: str
    path: str
    check: Check
    limit: int
    seed: int
    timeout: float


@dataclass
class _Part:
    """What came of some crash points."""

    points: int = 0
    sampled: int = 0
    states: int = 0
    failed: int = 0
    failures: list[CrashFailure] = field(default_factory=list)


class _Walker:
    """Goes through a recording from crash point to crash point, never back."""

    def __init__(self, task: _Task) -> None:
        self._task = task
        self._told = is_told_markers(task.check)
        with ExitStack() as undo:
            self._recording = undo.enter_context(Recording(task.path))
            self.image = undo.enter_context(CrashImage(self._recording))
            self._command = None
            if not callable(task.check):
                self._command = CommandCheck(task.check, self._recording, self.image, task.timeout)
                undo.callback(self._command.close)
            self._undo = undo.pop_all()

    def close(self) -> None:
        self._undo.close()

    def explore(self, points: Sequence[int]) -> _Part:
        part = _Part()
        for point in points:
            self._explore(point, part)
        return part

    def _call(self) -> Callable[[], object]:
        """The check on what the image shows."""
        if self._command:
            return self._command
        assert callable(self._task.check)
        if self._told:
            before = self._recording.markers_before(self.image.point)
            markers = [text for _, text in self._recording.markers[:before]]
            return partial(self._task.check, self.image.view, markers)
        return partial(self._task.check, self.image.view)

    def _explore(self, point: int, part: _Part) -> None:
        image, task = self.image, self._task
        image.advance(point)
        call = self._call()
        salt = self._recording.markers_before(point) if self._told else 0
        tried, new, failed, failures = image.states.explore(
            call,
            task.limit,
            (task.seed << 32) + point & (1 << 64) - 1,
            _KEPT,
            salt * 0x9E3779B97F4A7C15 & (1 << 64) - 1,
        )
        part.points += 1
        part.states += new
        part.failed += failed
        part.sampled += tried >= task.limit
        if failures:
            part.failures.append(self._least(failures, failed, call))

    def _least(
        self, failures: list[tuple[Choice, BaseException | None]], failed: int, call: Callable[[], object]
    ) -> CrashFailure:
        """The failure with the fewest missing lines, and with fewer still if that fails too."""
        newest = self.image.newest
        choice, error = min(failures, key=lambda kept: sum(a != b for a, b in zip(kept[0], newest, strict=True)))
        reasons = {choice: reason_of(error)}

        def fails(other: Choice) -> bool:
            reason = self.judge(other, call)
            if reason:
                reasons[other] = reason
            return bool(reason)

        least = minimise(choice, newest, fails)
        return self._describe(least, reasons[least], failed)

    def judge(self, choice: Choice, call: Callable[[], object] | None = None) -> str:
        """Why this state fails; empty if it does not."""
        self.image.states.choose(choice)
        try:
            return reason_of(None) if (call or self._call())() is False else ""
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # pytest.fail() is no Exception
            return reason_of(error)

    def _describe(self, choice: Choice, reason: str, failed: int) -> CrashFailure:
        missing = tuple(
            MissingLine(offset, holds, len(versions), *versions[-1])
            for (offset, versions), holds in zip(self.image.pending, choice, strict=True)
            if holds != len(versions)
        )
        markers = tuple(self._recording.last_markers(self.image.point))
        return CrashFailure(self.image.named(choice), reason, missing, markers, failed)

    def try_state(self, state: State) -> _Part:
        self.image.advance(state.point)
        choice = self.image.choice_of(state)
        reason = self.judge(choice)
        failures = [self._describe(choice, reason, 1)] if reason else []
        return _Part(points=1, states=1, failed=len(failures), failures=failures)


# A worker, a process or a thread, goes through the recording once, whatever parts of it it gets.
_walkers: dict[tuple[str, int], _Walker] = {}


def _explore_part(task: _Task, points: Sequence[int]) -> _Part:
    mine = task.key, threading.get_ident()
    walker = _walkers.get(mine)
    if walker is None or walker.image.point >= points[0]:
        if walker:
            walker.close()
        else:
            Finalize(None, _close_walkers, args=(task.key,), exitpriority=10)
        walker = _walkers[mine] = _Walker(task)
    return walker.explore(points)


def _begin_worker() -> None:
    """A worker of our own that is told to stop ends the check that runs, cleans up, and takes no other part."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _work(task: _Task, points: Sequence[int]) -> _Part:
    try:
        return _explore_part(task, points)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _close_walkers(task.key)
        os._exit(1)  # an exception would only be sent to the parent, and the next part begun


def _close_walkers(key: str) -> None:
    for mine in [mine for mine in _walkers if mine[0] == key]:
        _walkers.pop(mine).close()


def _parts(task: _Task, points: list[int], executor: Executor | None, jobs: int) -> Iterator[_Part]:
    """The parts as they are ready."""
    if executor is None and jobs > 1 and len(points) > 1:
        _refuse_unpicklable(task.check)
        context = multiprocessing.get_context("spawn")  # a process with threads is not to be forked
        workers = min(jobs, len(points))
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker) as pool:
            yield from _submitted(task, points, pool, jobs, _work)
        return
    try:
        if executor is None:
            for point in points:
                yield _explore_part(task, [point])
            return
        yield from _submitted(task, points, executor, jobs, _explore_part)
    finally:
        _close_walkers(task.key)


def _submitted(
    task: _Task, points: list[int], executor: Executor, jobs: int, work: Callable[[_Task, Sequence[int]], _Part]
) -> Iterator[_Part]:
    waiting = [executor.submit(work, task, part) for part in chunks(points, jobs)]
    try:
        for future in as_completed(waiting):
            yield future.result()
    finally:
        for future in waiting:
            future.cancel()


def _refuse_unpicklable(check: Check) -> None:
    try:
        pickle.dumps(check)
    except Exception as error:
        raise UsageError(
            f"check {show_check(check)} cannot be sent to other processes ({error}); make it a function of a module, "
            "or explore with jobs=1"
        ) from None


def explore(
    recording: Recording | str | os.PathLike[str],
    check: Check,
    *,
    points: Points = "fences",
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
    all lines, each alone, all but each, and random ones by ``seed``.

    ``check`` is a callable that gets the bytes of the device, for reading, and the markers before the crash if
    it has a second parameter; False or an exception is a failure. Or a command: ``{image}`` in it is a file
    that holds the state; without it, its ``/dev/dax0.0`` does. Other than exit status 0, or no end within
    ``timeout`` seconds, is a failure. A state that was there before is not checked again.

    With ``jobs``, as many processes share the crash points; with ``executor``, any of concurrent.futures does
    (``jobs`` then says how many workers it has). ``state`` is a name that a report gives: only this one is
    tried. ``progress`` is called with what there is so far and the number of crash points there are.
    UsageError: no recording, no such check, points, state.
    """
    begin = time.monotonic()
    if limit < 1:
        raise UsageError(f"limit {limit}: at least one state is tried at each crash point")
    refuse_check(check)
    with ExitStack() as after:
        if not isinstance(recording, Recording):
            recording = after.enter_context(Recording(recording))
        result = Exploration(recording.path, show_check(check))
        task = _Task(os.urandom(8).hex(), str(recording.path.absolute()), check, limit, seed, timeout)
        if state is not None:
            walker = _Walker(task)
            after.callback(walker.close)
            parts = iter([walker.try_state(parse_state(state) if isinstance(state, str) else state)])
            total = 1
        else:
            at = crash_points(recording, points)
            total = len(at)
            parts = _parts(task, at, executor, jobs)
        for part in parts:
            result.points += part.points
            result.sampled += part.sampled
            result.states += part.states
            result.failed += part.failed
            result.failures += part.failures
            result.seconds = time.monotonic() - begin
            if progress:
                progress(result, total)
        result.failures.sort(key=lambda failure: (len(failure.missing), failure.state.point))
        result.findings = find(recording)
    result.seconds = time.monotonic() - begin
    return result
