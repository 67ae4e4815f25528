"""What a recording shows by itself, without any check: flushes that lack, and flushes for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daxemu.pmem.format import LINE_SIZE
from daxemu.pmem.reader import EventType

if TYPE_CHECKING:
    from daxemu.pmem.reader import Recording

__all__ = ["KINDS", "Finding", "find"]

KINDS = {
    "never flushed": "stored, and at the end not on its way to the memory: a power failure may lose it",
    "not fenced": "flushed, and no fence of that thread since: a power failure may lose it",
    "stored while in flight": "stored again between flush and fence: either content may be what is durable",
    "flushed without change": "flushed, but no line of it has changed since its last flush: it costs time for nothing",
}


@dataclass(frozen=True)
class Finding:
    """Something that happened ``count`` times at one place in the program.

    ``kind`` is one of KINDS; ``site`` the address of the store or flush, 0 if it is not known; ``offset`` and
    ``seq`` are the first line that it happened to, and the event.
    """

    kind: str
    site: int
    count: int
    offset: int
    seq: int


class _Line:
    """One line: its newest store, whether that is flushed, and by whom it is in flight."""

    __slots__ = ("flights", "flushed", "seq", "site")

    def __init__(self) -> None:
        self.seq = self.site = 0
        self.flushed = True
        self.flights: dict[int, tuple[int, int, int]] = {}  # by thread: seq and site of the flush, and the store then


def find(recording: Recording) -> list[Finding]:
    """Return what the recording shows, the most serious kind first; nothing with eADR, which needs no flush."""
    if recording.eadr:
        return []
    lines: dict[int, _Line] = {}
    in_flight: dict[int, dict[int, _Line]] = {}  # by thread, by offset
    found: dict[tuple[str, int], Finding] = {}

    def note(kind: str, site: int, offset: int, seq: int) -> None:
        before = found.get((kind, site))
        found[kind, site] = Finding(
            kind,
            site,
            before.count + 1 if before else 1,
            before.offset if before else offset,
            before.seq if before else seq,
        )

    for event in recording.events():
        if event.type == EventType.STORE:
            line = lines.setdefault(event.offset, _Line())
            if line.flights:
                note("stored while in flight", event.site, event.offset, event.seq)
            line.seq, line.site, line.flushed = event.seq, event.site, False
        if event.type & EventType.FLUSH:
            changed = False
            for offset in _touched(lines, event.offset, event.length):
                line = lines[offset]
                if not line.flushed:
                    changed = line.flushed = True
                    line.flights[event.thread] = event.seq, event.site, line.seq
                    in_flight.setdefault(event.thread, {})[offset] = line
            if not changed:
                note("flushed without change", event.site, event.offset // LINE_SIZE * LINE_SIZE, event.seq)
        if event.type & EventType.FENCE:
            for line in in_flight.pop(event.thread, {}).values():
                del line.flights[event.thread]

    for offset, line in lines.items():
        if not line.flushed:
            note("never flushed", line.site, offset, line.seq)
        for seq, site, store in line.flights.values():
            if store == line.seq:
                note("not fenced", site, offset, seq)
    kinds = list(KINDS)
    return sorted(found.values(), key=lambda finding: (kinds.index(finding.kind), -finding.count, finding.site))


def _touched(lines: dict[int, _Line], offset: int, length: int) -> list[int]:
    """The lines of a range that were ever stored to; the range may be the whole device."""
    if length == 0:
        return []
    first, last = offset // LINE_SIZE, (offset + length - 1) // LINE_SIZE
    if last - first >= len(lines):
        return [at for at in lines if first <= at // LINE_SIZE <= last]
    return [at for at in range(first * LINE_SIZE, last * LINE_SIZE + 1, LINE_SIZE) if at in lines]
