"""Crash points: before which events of a recording the power fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from daxemu.errors import UsageError
from daxemu.pmem.format import EVENT_FENCE, EVENT_FLUSH, EVENT_MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daxemu.pmem.reader import Recording

__all__ = [
    "Points",
    "Scan",
    "crash_points",
    "parse_points",
    "parse_scan",
    "refuse_points",
    "scan_at",
    "scan_for",
    "split",
]

Points = Literal["fences", "flushes", "markers"] | int
Scan = Literal["none", "fences", "flushes", "markers"] | int  # before which events programs are looked at

_NAMES: dict[str, Points] = {"fences": "fences", "flushes": "flushes", "markers": "markers"}
_SCANNED = {
    "none": 0,
    "fences": EVENT_FENCE,
    "flushes": EVENT_FENCE | EVENT_FLUSH,
    "markers": EVENT_MARKER,
}
_PARTS = 16  # for each job: small enough that all end together, large enough to be worth a round trip
_MOST = 64  # crash points in one: what an interruption may take from each job


def parse_points(text: str) -> Points:
    """Return what ``fences``, ``flushes``, ``markers`` or a number of events stands for. UsageError: none of these."""
    points = int(text) if text.isdecimal() else text
    refuse_points(points)
    return cast(Points, points)


def refuse_points(points: Points | str) -> None:
    """Raise UsageError for what are no crash points."""
    if points < 1 if isinstance(points, int) else points not in _NAMES:
        raise UsageError(
            f"crash points {points!r}: say fences, flushes, markers, or after how many events each, 1 or more"
        )


def parse_scan(text: str) -> Scan:
    """Return what ``none``, ``fences``, ``flushes``, ``markers`` or a number of fences stands for. UsageError: none."""
    if text == "none":
        return "none"
    if (text.isdecimal() and int(text)) or text in _NAMES:
        return parse_points(text)
    raise UsageError(f"scan {text!r}: say none, fences, flushes, markers, or at each how many fences")


def scan_at(scan: Scan) -> tuple[int, int]:
    """Return the types of events before which there is a look, as bits, and before each how many of them.

    0: before each, but if all of the device has to be compared only as often as its size allows.
    """
    if isinstance(scan, int):
        if scan < 1:
            raise UsageError(f"scan at every {scan} fences: give 1 or more")
        return EVENT_FENCE, scan
    if scan not in _SCANNED:
        raise UsageError(f"scan={scan!r}: give none, fences, flushes, markers, or at each how many fences")
    return _SCANNED[scan], int(scan == "markers")


def scan_for(points: Points) -> Scan:
    """Return where to look so that at these crash points it is known what was stored and not flushed."""
    return "fences" if isinstance(points, int) else points


def crash_points(recording: Recording, points: Points) -> list[int]:
    """Return sequence numbers of events; the power fails just before each. The last one is behind all events.

    Before every fence all is found that can be found: whatever may be left of the events between two
    fences may also be left just before the second. At every flush fewer states are sampled at once.
    """
    if isinstance(points, int):
        chosen = [*range(1, recording.end, points)]
    elif points == "markers":
        chosen = [seq for seq, _ in recording.markers]
    else:
        chosen = sorted([*recording.fences, *(recording.flushes if points == "flushes" else [])])
    return [*chosen, recording.end]


def split(begin: int, end: int, jobs: int) -> Iterator[tuple[int, int]]:
    """Split the crash points of these numbers among jobs, in order."""
    size = min(_MOST, max(1, -(-(end - begin) // (jobs * _PARTS))))
    return ((at, min(at + size, end)) for at in range(begin, end, size))
