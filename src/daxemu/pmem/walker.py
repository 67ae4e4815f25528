"""What a worker does: go from crash point to crash point, try the check on each state, minimise what fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from daxemu.pmem.checks import Check, CommandCheck, answer_of, is_told_markers, reason_of
from daxemu.pmem.exploration import CrashFailure, MissingLine, Part
from daxemu.pmem.minimise import Choice, minimise
from daxemu.pmem.orders import orders_at
from daxemu.pmem.points import Points, crash_points
from daxemu.pmem.reader import Recording
from daxemu.pmem.states import CrashImage, State

__all__ = ["Task", "Walker"]

_KEPT = 256  # of the failing states of one crash point, to take the one with the fewest missing lines
_PATIENCE = 10  # seconds that a walker which was stopped has to come to its end
_64_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Task:
    """An exploration, for those that do a part of it. ``scratch`` is where commands have their images."""

    key: str
    path: str
    check: Check
    points: Points
    order: str
    limit: int
    seed: int
    timeout: float
    scratch: str | None = None


class Walker:
    """Goes through a recording from crash point to crash point, never back. For one thread.

    A state is checked at the first crash point that has it. So states of crash points that others explore
    are noted in passing, and it makes no difference who explores which.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._told = is_told_markers(task.check)
        self._walking = threading.Lock()
        self.next = 0  # the next crash point's number
        with ExitStack() as undo:
            self._recording = undo.enter_context(Recording(task.path))
            self._points = crash_points(self._recording, task.points)
            self._orders = orders_at(task.order, self._recording, self._points)
            self.image = undo.enter_context(CrashImage(self._recording))
            self._command = None
            if not callable(task.check):
                self._command = CommandCheck(task.check, self._recording, self.image, task.timeout, task.scratch)
                undo.callback(self._command.close)
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Have ``explore`` end with a KeyboardInterrupt, in whatever thread it is, with the check that runs."""
        self.image.states.stop()
        if self._command:
            self._command.stop()

    @property
    def ends_orderly(self) -> bool:
        """Does ``stop`` end the check that runs? A callable goes on until it returns."""
        return self._command is not None

    def close(self) -> None:
        """Stop, and give back what it has; but not below a check that goes on and on."""
        self.stop()
        if self._walking.acquire(timeout=_PATIENCE):
            self._undo.close()

    def explore(self, begin: int, end: int) -> Part:
        """Try the states of these crash points, none of which is before ``next``."""
        part = Part(begin, end)
        with self._walking, self._telling():
            for number in range(self.next, begin):
                self._visit(number, None, 0)
            for number in range(begin, end):
                self._explore(number, part)
        self.next = end
        return part

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """That a command could not be run is neither a failure nor an interrupt."""
        try:
            yield
        except KeyboardInterrupt:
            if self._command and self._command.broken:
                raise self._command.broken from None
            raise

    def _visit(
        self, number: int, check: Callable[[], object] | None, keep: int
    ) -> tuple[int, int, int, list[tuple[Choice, BaseException | None]]]:
        task, point = self._task, self._points[number]
        if self.image.point != point:
            self.image.advance(point)
        seed = (task.seed << 32) + point & _64_BITS
        salt = (self._recording.markers_before(point) if self._told else 0) * 0x9E3779B97F4A7C15 & _64_BITS
        return self.image.states.explore(check, self._orders[number], task.limit, seed, keep, salt)

    def _explore(self, number: int, part: Part) -> None:
        self.image.advance(self._points[number])
        call = self._call()
        tried, new, failed, failures = self._visit(number, call, _KEPT)
        part.states += new
        part.failed += failed
        part.untried += not tried
        part.sampled += 0 < tried < self.image.states.count()
        if failures:
            part.failures.append(self._least(failures, failed, call))

    def _call(self) -> Callable[[], object]:
        """The check on what the image shows."""
        if self._command:
            return self._command
        assert callable(self._task.check)
        if self._told:
            told = self._recording.markers_before(self.image.point)
            markers = [text for _, text in self._recording.markers[:told]]
            return partial(answer_of, self._task.check, self.image.view, markers)
        return partial(answer_of, self._task.check, self.image.view)

    def _least(
        self, failures: list[tuple[Choice, BaseException | None]], failed: int, call: Callable[[], object]
    ) -> CrashFailure:
        """The failure with the fewest missing lines that fails again, and with fewer still if that does too."""
        newest = self.image.newest
        reasons: dict[Choice, str] = {}

        def fails(other: Choice) -> bool:
            reasons[other] = self.judge(other, call)
            return bool(reasons[other] and self.judge(other, call))

        failures.sort(key=lambda kept: sum(a != b for a, b in zip(kept[0], newest, strict=True)))
        for choice, error in failures:
            reasons[choice] = reason_of(error)
            if self.judge(choice, call):
                least = minimise(choice, newest, fails)
                return self._describe(least, reasons[least], failed)
        choice, error = failures[0]
        return self._describe(choice, reason_of(error), failed, unsteady=True)

    def judge(self, choice: Choice, call: Callable[[], object] | None = None) -> str:
        """Why this state fails; empty if it does not."""
        self.image.states.choose(choice)
        try:
            return reason_of(None) if (call or self._call())() is False else ""
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # pytest.fail() is no Exception
            return reason_of(error)

    def _describe(self, choice: Choice, reason: str, failed: int, *, unsteady: bool = False) -> CrashFailure:
        missing = tuple(
            MissingLine(offset, holds, len(versions), *versions[-1])
            for (offset, versions), holds in zip(self.image.pending, choice, strict=True)
            if holds != len(versions)
        )
        markers = tuple(self._recording.last_markers(self.image.point))
        return CrashFailure(self.image.named(choice), reason, missing, markers, failed, unsteady)

    def try_state(self, state: State) -> Part:
        """Try a single one."""
        choice = self.image.advance_to(state)
        with self._telling():
            reason = self.judge(choice)
            failures = [self._describe(choice, reason, 1, unsteady=not self.judge(choice))] if reason else []
        return Part(0, 1, states=1, failed=len(failures), failures=failures)
