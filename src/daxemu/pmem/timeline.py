"""What of a recording is drawn: it may have millions of events, of which nobody can look at more than some."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from daxemu.pmem.picture import Picture
from daxemu.pmem.reader import Event, EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daxemu.pmem.exploration import CrashFailure
    from daxemu.pmem.reader import Recording

__all__ = ["around", "timeline"]

_EVENTS, _LINES = 1000, 200  # of a timeline, at most
_BEHIND = 20  # events behind the first failure
_BACK = 20_000  # events before a failure among which its stores are looked for
_NEAR, _OWN, _FEW_LINES = 12, 20, 12  # around a failure: events just before it, those of its missing lines, lines


def timeline(recording: Recording, failures: Sequence[CrashFailure]) -> tuple[Picture, str]:
    """Return the picture and what it shows. Of a long recording: up to the first failure, else the first events."""
    first = min((failure.state.point for failure in failures), default=0)
    behind = min(first + _BEHIND, recording.nr_events)
    events = [*islice(recording.events(max(1, behind - _EVENTS + 1)), _EVENTS)]
    missing = [line.offset for failure in failures for line in failure.missing]
    rows, touched = _rows(events, missing, _LINES)
    told = f"Events {events[0].seq} to {events[-1].seq} of {recording.nr_events}"
    if len(rows) < touched:
        told += f", {len(rows)} of {touched} lines"
    return Picture(events, rows, end=recording.end, eadr=recording.eadr), told


def around(recording: Recording, failure: CrashFailure) -> Picture:
    """Return a picture of one failure: the last events before it, and those of the lines that are missing."""
    point = failure.state.point
    first = max(1, min([line.seq - 1 for line in failure.missing] + [point - _NEAR]), point - _BACK)
    events = [*islice(recording.events(first), point + 2 - first)]
    missing = {line.offset: line.seq for line in failure.missing[:_FEW_LINES]}
    own = [event.seq for event in events if event.seq < point and any(map(event.reaches, missing))]
    shown = {*missing.values(), *own[-_OWN:], *range(point - _NEAR, point + 2)}
    rows, _ = _rows([event for event in events if event.seq in shown], missing, _FEW_LINES)
    return Picture(events, rows, end=recording.end, eadr=recording.eadr, shown=shown)


def _rows(events: Iterable[Event], first: Iterable[int], most: int) -> tuple[set[int], int]:
    """Lines to draw, those of ``first`` before others, and how many there would be."""
    stored = {event.offset for event in events if event.type == EventType.STORE}
    touched = dict.fromkeys([*(offset for offset in first if offset in stored), *sorted(stored)])
    return {*islice(touched, most)}, len(touched)
