"""What a recording shows by itself, without any check: flushes that lack, and flushes for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daxemu._core import find_events

if TYPE_CHECKING:
    from daxemu.pmem.reader import Recording

__all__ = ["KINDS", "Finding", "find"]

# In the order in which findings.c numbers them.
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
    ``seq`` are the first line that it happened to, and the event. What is ``observed`` was stored before, nobody knows
    where: it was found at ``site``.
    """

    kind: str
    site: int
    count: int
    offset: int
    seq: int
    observed: bool = False


def find(recording: Recording) -> list[Finding]:
    """Return what the recording shows, the most serious kind first; nothing with eADR, which needs no flush."""
    if recording.eadr:
        return []
    kinds = list(KINDS)
    found = find_events(recording.bytes_of_events, recording.size)
    found.sort(key=lambda note: (note[0], -note[2], note[1]))
    return [
        Finding(kinds[kind], site, count, offset, seq, observed) for kind, site, count, offset, seq, observed in found
    ]
