"""Crash points: before which events of a recording the power fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from daxemu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daxemu.pmem.reader import Recording

__all__ = ["Points", "chunks", "crash_points", "parse_points"]

Points = Literal["fences", "flushes", "markers"] | int

_NAMES: dict[str, Points] = {"fences": "fences", "flushes": "flushes", "markers": "markers"}
_CHUNKS = 16  # for each job: small enough that all end together, large enough to be worth a round trip


def parse_points(text: str) -> Points:
    """Return what ``fences``, ``flushes``, ``markers`` or a number of events stands for. UsageError: none of these."""
    if text.isdecimal() and int(text):
        return int(text)
    if text in _NAMES:
        return _NAMES[text]
    raise UsageError(f"crash points {text!r}: say fences, flushes, markers, or after how many events each")


def crash_points(recording: Recording, points: Points) -> list[int]:
    """Return sequence numbers of events; the power fails just before each. The last one is behind all events.

    Before every fence all is found that can be found: whatever may be left of the events between two
    fences may also be left just before the second. At every flush fewer states are sampled at once.
    """
    if isinstance(points, int):
        if points < 1:
            raise UsageError(f"crash points every {points} events: give 1 or more")
        chosen = [*range(1, recording.end, points)]
    elif points == "markers":
        chosen = [seq for seq, _ in recording.markers]
    else:
        chosen = sorted([*recording.fences, *(recording.flushes if points == "flushes" else [])])
    return [*chosen, recording.end]


def chunks(points: Sequence[int], jobs: int) -> list[Sequence[int]]:
    """Split points among jobs, in order."""
    size = max(1, -(-len(points) // (jobs * _CHUNKS)))
    return [points[at : at + size] for at in range(0, len(points), size)]
