"""What comes of an exploration: of some crash points, and of all."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from daxemu.pmem.states import State

if TYPE_CHECKING:
    from daxemu.pmem.findings import Finding

__all__ = ["CrashFailure", "Exploration", "MissingLine", "Part", "Parts"]


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

    ``states`` failed there; ``reason`` is the check's for this one, ``markers`` are the last before it. Where one is
    ``unsteady``, none of these failed again: each was tried a second time, and passed. It is as it was found.
    """

    state: State
    reason: str
    missing: tuple[MissingLine, ...]
    markers: tuple[str, ...]
    states: int
    unsteady: bool = False


@dataclass
class Part:
    """What came of the crash points from number ``begin`` up to ``end``, counted from 0."""

    begin: int
    end: int
    sampled: int = 0
    untried: int = 0
    states: int = 0
    failed: int = 0
    failures: list[CrashFailure] = field(default_factory=list)


Parts = Generator[Part, None, None]


@dataclass
class Exploration:
    """What came of it: ``states`` were checked at ``points`` crash points, ``failed`` of them failed.

    A state is counted once, at the first crash point that has it, however many ``jobs`` shared the work. At ``sampled``
    crash points there were more than ``order`` and limit had tried, at ``untried`` ones the order had none tried.
    ``failures`` has one for each crash point that has any; ``findings`` are what the recording shows without any
    check. ``resumed`` of the crash points were explored before an interruption, and ``seconds`` are those of then and
    now. ``workers`` is 0 without a cluster.
    """

    recording: Path
    check: str
    order: str = "auto"
    points: int = 0
    sampled: int = 0
    untried: int = 0
    states: int = 0
    failed: int = 0
    failures: list[CrashFailure] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    resumed: int = 0
    jobs: int = 1
    workers: int = 0

    @property
    def ok(self) -> bool:
        """Has no state failed?"""
        return not self.failed

    def add(self, part: Part) -> None:
        """Count what came of some crash points."""
        self.points += part.end - part.begin
        self.sampled += part.sampled
        self.untried += part.untried
        self.states += part.states
        self.failed += part.failed
        self.failures += part.failures
