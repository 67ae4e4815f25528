"""What of a device survives a power failure: the rules of the persistence domain, on the events of a log. Pure."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from daxemu.errors import UsageError
from daxemu.pmem import format as fmt
from daxemu.pmem.format import EVENT, LINE_SIZE, LOG_HEADER

__all__ = ["Domain", "LogEvent", "events_of", "survivors"]

_HEAD = struct.Struct(EVENT.format)


class LogEvent(NamedTuple):
    """One event; the fields are the log's."""

    type: int
    thread: int
    length: int
    offset: int
    seq: int
    payload: bytes


def events_of(log: bytes) -> Iterator[LogEvent]:
    """The events of a complete log that is known to be whole."""
    at, seq = LOG_HEADER.size, 0
    while at < len(log):
        kind, _, thread, length, offset, _ = _HEAD.unpack_from(log, at)
        at, seq = at + EVENT.size, seq + 1
        size = fmt.padded(length) if kind in (fmt.EVENT_STORE, fmt.EVENT_MARKER) else 0
        yield LogEvent(kind, thread, length, offset, seq, log[at : at + length] if size else b"")
        at += size


class _Line:
    """A line of the device: what the memory has of it for certain, and what was stored since, in order."""

    def __init__(self) -> None:
        self.durable: bytes | None = None  # what it had when recording began
        self.durable_seq = 0
        self.versions: list[tuple[int, bytes]] = []


class Domain:
    """ADR: a store is safe when its line was flushed and the flush fenced, by one thread."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        self._pending: set[int] = set()
        self._in_flight: dict[int, dict[int, int]] = {}  # of each thread: line, and the newest version flushed

    def apply(self, event: LogEvent) -> None:
        """Take note of the next event."""
        if event.type == fmt.EVENT_STORE:
            self._lines.setdefault(event.offset, _Line()).versions.append((event.seq, event.payload))
            self._pending.add(event.offset)
        if event.type & fmt.EVENT_FLUSH:
            first = event.offset // LINE_SIZE * LINE_SIZE
            lines = range(first, event.offset + event.length, LINE_SIZE)
            flushed = lines if len(lines) < len(self._pending) else self._pending.copy()
            flight = self._in_flight.setdefault(event.thread, {})
            for offset in flushed:
                if offset in lines and offset in self._pending:
                    flight[offset] = self._lines[offset].versions[-1][0]
        if event.type & fmt.EVENT_FENCE:
            for offset, seq in self._in_flight.pop(event.thread, {}).items():
                self._settle(offset, seq)

    def _settle(self, offset: int, seq: int) -> None:
        line = self._lines[offset]
        if seq <= line.durable_seq:  # another thread's fence was first, of a newer version
            return
        settled = [data for number, data in line.versions if number <= seq]
        line.durable, line.durable_seq = settled[-1], seq
        line.versions = [version for version in line.versions if version[0] > seq]
        if not line.versions:
            self._pending.discard(offset)

    def pending(self) -> Mapping[int, list[bytes | None]]:
        """What each line that is not safe may hold: the durable copy (None: as when recording began), then the rest."""
        return {
            offset: [self._lines[offset].durable, *(data for _, data in self._lines[offset].versions)]
            for offset in sorted(self._pending)
        }


def survivors(policy: str | int) -> Callable[[list[bytes | None]], bytes | None]:
    """What of a line's copies survives: of ``none`` of the stores, of ``all``, or at random by a seed."""
    if policy == "none":
        return lambda copies: copies[0]
    if policy == "all":
        return lambda copies: copies[-1]
    if isinstance(policy, int):
        return random.Random(policy).choice
    raise UsageError(f"policy {policy!r}: give 'none', 'all', or a number as the seed of a random choice")
