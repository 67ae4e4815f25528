"""Events and lines of a recording, drawn: time to the right, a row for each line, from store to durable."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from daxemu.pmem.format import LINE_SIZE
from daxemu.pmem.reader import Event, EventType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daxemu.pmem.exploration import CrashFailure
    from daxemu.pmem.reader import Recording
    from daxemu.pmem.sites import Sites

__all__ = ["STYLE", "legend", "timeline"]

_EVENTS, _LINES = 1000, 200  # more than this nobody can look at
_STEP, _ROW, _LEFT, _TOP = 14, 14, 90, 36  # pixels
_FEW = 50  # events that are drawn larger
_BEHIND = 20  # events behind the first failure
_TICKS = 10  # events from one number to the next

STYLE = """
svg text { font: 10px monospace; fill: #777 } svg text.crash { fill: #d33; stroke: none }
.store { fill: #3b6fb6 } .flush { fill: #e39a2d } .dirty { fill: #3b6fb677 } .flying { fill: #e39a2d77 }
.fence { stroke: #999 } .marker { stroke: #2c9e4b }
.crash { stroke: #d33; stroke-dasharray: 3 2 } .missing { fill: none; stroke: #d33; stroke-width: 2 }
"""


def _drawn(shape: str, kind: str, content: str = "", **where: int) -> str:
    attributes = "".join(f" {name}='{value}'" for name, value in where.items())
    return f"<{shape} class='{kind}'{attributes}>{content}</{shape}>"


def _upright(kind: str, x: int, top: int, bottom: int, content: str = "") -> str:
    return _drawn("line", kind, content, x1=x, x2=x, y1=top, y2=bottom)


_SYMBOLS = {
    "stored": _drawn("rect", "store", x=2, y=2, width=10, height=10),
    "not on its way to the memory": _drawn("rect", "dirty", x=0, y=5, width=14, height=4),
    "flushed": _drawn("circle", "flush", cx=7, cy=7, r=4),
    "on its way": _drawn("rect", "flying", x=0, y=5, width=14, height=4),
    "fence: what this thread flushed is durable": _upright("fence", 7, 0, 14),
    "marker": _upright("marker", 7, 0, 14),
    "the power fails here": _upright("crash", 7, 0, 14),
    "and this is missing": _drawn("circle", "missing", cx=7, cy=7, r=6),
}


def legend() -> str:
    """Return what the symbols stand for."""
    symbols = "".join(
        f"<span><svg width='14' height='14'>{drawn}</svg> {text}</span> " for text, drawn in _SYMBOLS.items()
    )
    return f"<p class=legend>Time goes to the right, one event a column; a row is a line of 64 bytes.<br>{symbols}</p>"


def timeline(recording: Recording, failures: Sequence[CrashFailure], sites: Sites) -> str:
    """Return the picture. Of a long recording it has the events up to the first failure, else the first ones."""
    first = min((failure.state.point for failure in failures), default=0)
    behind = min(first, recording.nr_events) + _BEHIND
    events = [*islice(recording.events(max(1, behind - _EVENTS + 1)), _EVENTS)]
    return _Picture(events, recording).draw(failures, sites)


class _Picture:
    """Where events and lines are."""

    def __init__(self, events: list[Event], recording: Recording) -> None:
        self._events, self._eadr = events, recording.eadr
        self._columns = {event.seq: _LEFT + i * _STEP for i, event in enumerate(events)}
        self._end = _LEFT + len(events) * _STEP
        self._columns.setdefault(recording.end, self._end)
        touched = sorted({event.offset for event in events if event.type == EventType.STORE})[:_LINES]
        self._rows = {offset: _TOP + i * _ROW for i, offset in enumerate(touched)}
        self._bottom = _TOP + len(touched) * _ROW

    def draw(self, failures: Sequence[CrashFailure], sites: Sites) -> str:
        drawn = (
            *(_drawn("text", "line", f"{offset:#x}", x=2, y=y + 10) for offset, y in self._rows.items()),
            *self._numbers(),
            *(() if self._eadr else self._bars()),
            *(part for event in self._events for part in self._event(event, sites)),
            *(part for failure in failures for part in self._failure(failure)),
            *self._crash_numbers(failures),
        )
        width, height = self._end + 3 * _STEP, self._bottom + 18
        scale = 1.5 if len(self._events) < _FEW else 1
        size = f"width='{width * scale:g}' height='{height * scale:g}' viewBox='0 0 {width} {height}'"
        return f"<svg {size}>{''.join(drawn)}</svg>"

    def _numbers(self) -> Iterator[str]:
        for event in self._events:
            if event.seq % _TICKS == 0:
                yield _drawn("text", "number", str(event.seq), x=self._columns[event.seq], y=self._bottom + 14)

    def _flushed(self, event: Event) -> list[int]:
        first = event.offset // LINE_SIZE * LINE_SIZE
        return [offset for offset in self._rows if first <= offset < event.offset + event.length]

    def _bars(self) -> Iterator[str]:
        """From the store of a line to its flush, and from there to the fence: what a power failure may take."""
        dirty: dict[int, int] = {}  # of lines: since when
        flying: dict[int, tuple[int, int]] = {}  # since when, and by which thread

        def bar(kind: str, offset: int, begin: int, end: int) -> str:
            if begin == end:
                return ""
            return _drawn("rect", kind, x=begin, y=self._rows[offset] + 5, width=end - begin, height=4)

        for event in self._events:
            x = self._columns[event.seq] + 5
            if event.type == EventType.STORE and event.offset in self._rows:
                if event.offset in flying:
                    yield bar("flying", event.offset, flying.pop(event.offset)[0], x)
                dirty.setdefault(event.offset, x)
            if event.type & EventType.FLUSH:
                for offset in self._flushed(event):
                    if offset in dirty:
                        yield bar("dirty", offset, dirty.pop(offset), x)
                        flying[offset] = x, event.thread
            if event.type & EventType.FENCE:
                for offset in [offset for offset, (_, thread) in flying.items() if thread == event.thread]:
                    yield bar("flying", offset, flying.pop(offset)[0], x)
        yield from (bar("dirty", offset, begin, self._end) for offset, begin in dirty.items())
        yield from (bar("flying", offset, begin, self._end) for offset, (begin, _) in flying.items())

    def _event(self, event: Event, sites: Sites) -> Iterator[str]:
        x, where = self._columns[event.seq], escape(sites.where(event.site, observed=event.observed))
        title = f"<title>event {event.seq}, thread {event.thread}: {event.type.name.lower()}{where}</title>"
        if event.type == EventType.STORE and event.offset in self._rows:
            yield _drawn("rect", "store", title, x=x, y=self._rows[event.offset] + 2, width=10, height=10)
        if event.type & EventType.FLUSH:
            for offset in self._flushed(event):
                yield _drawn("circle", "flush", title, cx=x + 5, cy=self._rows[offset] + 7, r=4)
        if event.type & EventType.FENCE:
            yield _upright("fence", x + 5, _TOP - 6, self._bottom, title)
        if event.type == EventType.MARKER:
            text = event.data.decode(errors="replace")
            yield _upright("marker", x + 5, _TOP - 16, self._bottom, f"<title>{escape(text)}</title>")
            yield _drawn("text", "label", escape(text[:24]), x=x + 7, y=_TOP - 10)

    def _failure(self, failure: CrashFailure) -> Iterator[str]:
        x = self._columns.get(failure.state.point)
        if x is None:
            return
        title = f"<title>{escape(failure.reason)}</title>"
        yield _upright("crash", x, 12, self._bottom, title)
        for line in failure.missing:
            at = self._columns.get(line.seq)
            if line.offset in self._rows and at is not None:
                yield _drawn("circle", "missing", title, cx=at + 5, cy=self._rows[line.offset] + 7, r=7)

    def _crash_numbers(self, failures: Sequence[CrashFailure]) -> Iterator[str]:
        """Before which event the power fails; where two are too near each other to be read, of the first."""
        free = 0
        for point in sorted(failure.state.point for failure in failures):
            x = self._columns.get(point, -1)
            if x >= free:
                yield _drawn("text", "crash", str(point), x=x - 3, y=10)
                free = x + 2 * _STEP
