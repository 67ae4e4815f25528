"""Events and lines, drawn: time to the right, a row for each line, from store to durable."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from daxemu.pmem.reader import Event, EventType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from daxemu.pmem.exploration import CrashFailure
    from daxemu.pmem.sites import Sites

__all__ = ["STYLE", "Picture", "legend"]

_STEP, _ROW, _TOP = 14, 14, 36  # pixels
_LETTER = 6  # how wide one is
_FEW = 50  # columns that are drawn larger

STYLE = """
:root { --text: #555; --rule: #8883; --store: #2f68b4; --flush: #d8860b; --fence: #888; --marker: #1d7f3a;
  --crash: #c62828 }
@media (prefers-color-scheme: dark) {
:root { --text: #aaa; --rule: #8884; --store: #6ea8f0; --flush: #f0b04a; --fence: #999; --marker: #5cc97c;
  --crash: #ff6b6b }
}
svg text { font: 10px monospace; fill: var(--text) } svg text.label { fill: var(--marker) }
svg text.number, svg text.crash, svg text.gap { text-anchor: middle }
svg text.crash { fill: var(--crash); stroke: none }
.row { stroke: var(--rule) } .store, .dirty { fill: var(--store) } .flush, .flying { fill: var(--flush) }
.seen { fill: none; stroke: var(--store); stroke-width: 2 } .dirty, .flying { opacity: .5 }
.fence { stroke: var(--fence) } .marker { stroke: var(--marker) }
.crash { stroke: var(--crash); stroke-dasharray: 3 2 } .missing { fill: none; stroke: var(--crash); stroke-width: 2 }
"""


def _drawn(shape: str, kind: str, content: str = "", **where: int) -> str:
    attributes = "".join(f" {name}='{value}'" for name, value in where.items())
    return f"<{shape} class='{kind}'{attributes}>{content}</{shape}>"


def _upright(kind: str, x: int, top: int, bottom: int, content: str = "") -> str:
    return _drawn("line", kind, content, x1=x, x2=x, y1=top, y2=bottom)


_SYMBOLS = {
    "stored": _drawn("rect", "store", x=2, y=2, width=10, height=10),
    "seen to have been stored": _drawn("rect", "seen", x=3, y=3, width=8, height=8),
    "not flushed yet": _drawn("rect", "dirty", x=0, y=5, width=14, height=4),
    "flushed": _drawn("circle", "flush", cx=7, cy=7, r=4),
    "no fence yet": _drawn("rect", "flying", x=0, y=5, width=14, height=4),
    "fence: what its thread flushed is durable": _upright("fence", 7, 0, 14),
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


class Picture:
    """Events and what they do to lines.

    ``events`` follow one another; those whose number is not among ``shown`` have no column of their own: where there
    are any is a gap. ``rows`` are the offsets of the lines. With ``eadr`` nothing is on its way to the memory.
    """

    def __init__(
        self,
        events: Sequence[Event],
        rows: Collection[int],
        *,
        end: int,
        eadr: bool,
        shown: Collection[int] | None = None,
    ) -> None:
        self._events, self._eadr = events, eadr
        self._shown = [event for event in events if shown is None or event.seq in shown]
        self._columns: dict[int, int] = {}
        self._gaps: list[int] = []
        self._right = _STEP
        drawn = {event.seq for event in self._shown}
        for event in events:
            if event.seq in drawn or self._gaps[-1:] != [self._right - _STEP]:
                if event.seq not in drawn:
                    self._gaps.append(self._right)
                self._right += _STEP
            self._columns[event.seq] = self._right - _STEP
        self._columns.setdefault(end, self._right)
        self._left = max([len(f"{offset:#x}") for offset in rows], default=0) * _LETTER + 4
        self._rows = {offset: _TOP + i * _ROW for i, offset in enumerate(sorted(rows))}
        self._bottom = _TOP + len(self._rows) * _ROW
        self._width, self._height = self._right + 3 * _STEP, self._bottom + 18
        self._scale = 1.5 if self._width < _FEW * _STEP else 1

    def html(self, failures: Sequence[CrashFailure], sites: Sites) -> str:
        """The lines' names and the events, beside each other: where these are scrolled, those may stay."""
        return f"{self._names()}{self._drawing(failures, sites)}"

    def svg(self, failures: Sequence[CrashFailure], sites: Sites) -> str:
        """A picture for itself, a file."""
        width, height = (self._left + self._width) * self._scale, self._height * self._scale
        root = f"<svg width='{width:g}' height='{height:g}' xmlns='http://www.w3.org/2000/svg'>"
        return f"{root}\n<style>{STYLE}</style>\n{self.html(failures, sites)}</svg>\n"

    def _part(self, kind: str, x: int, width: int, content: str) -> str:
        size = f"x='{x * self._scale:g}' width='{width * self._scale:g}' height='{self._height * self._scale:g}'"
        return f"<svg class='{kind}' {size} viewBox='0 0 {width} {self._height}'>{content}</svg>"

    def _names(self) -> str:
        names = (_drawn("text", "line", f"{offset:#x}", x=2, y=y + 10) for offset, y in self._rows.items())
        return self._part("lines", 0, self._left, "".join(names))

    def _drawing(self, failures: Sequence[CrashFailure], sites: Sites) -> str:
        drawn = (
            *(_drawn("line", "row", x1=4, x2=self._right, y1=y + 7, y2=y + 7) for y in self._rows.values()),
            *(_drawn("text", "gap", "…", x=x + 5, y=self._bottom + 14) for x in self._gaps),
            *self._numbers(),
            *(() if self._eadr else self._bars()),
            *(part for event in self._shown for part in self._event(event, sites)),
            *self._labels(),
            *(part for failure in failures for part in self._failure(failure)),
            *self._crash_numbers(failures),
        )
        return self._part("events", self._left, self._width, "".join(drawn))

    def _numbers(self) -> Iterator[str]:
        """Below events, as many as can be read."""
        free = 0
        for event in self._shown:
            x, text = self._columns[event.seq] + 5, str(event.seq)
            half = len(text) * _LETTER // 2
            if x - half > free and all(abs(x - 5 - gap) > half + _LETTER for gap in self._gaps):
                yield _drawn("text", "number", text, x=x, y=self._bottom + 14)
                free = x + half + _LETTER

    def _flushed(self, event: Event) -> list[int]:
        return [offset for offset in self._rows if event.reaches(offset)]

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
        yield from (bar("dirty", offset, begin, self._right) for offset, begin in dirty.items())
        yield from (bar("flying", offset, begin, self._right) for offset, (begin, _) in flying.items())

    def _event(self, event: Event, sites: Sites) -> Iterator[str]:
        x, where = self._columns[event.seq], escape(sites.where(event.site, observed=event.observed))
        line = f" of line {event.offset:#x}" if event.type == EventType.STORE else ""
        title = f"<title>event {event.seq}, thread {event.thread}: {event.type.name.lower()}{line}{where}</title>"
        if event.type == EventType.STORE and event.offset in self._rows:
            kind, inside = ("seen", 1) if event.observed else ("store", 0)
            y, width = self._rows[event.offset] + 2 + inside, 10 - 2 * inside
            yield _drawn("rect", kind, title, x=x + inside, y=y, width=width, height=width)
        if event.type & EventType.FLUSH:
            for offset in self._flushed(event):
                yield _drawn("circle", "flush", title, cx=x + 5, cy=self._rows[offset] + 7, r=4)
        if event.type & EventType.FENCE:
            yield _upright("fence", x + 5, _TOP - 6, self._bottom, title)

    def _labels(self) -> Iterator[str]:
        """Markers, with their text where there is room."""
        markers = [event for event in self._shown if event.type == EventType.MARKER]
        room = [self._columns[event.seq] for event in markers[1:]] + [self._right + 2 * _STEP]
        for event, end in zip(markers, room, strict=False):
            x, text = self._columns[event.seq] + 5, event.data.decode(errors="replace")
            title = f"<title>event {event.seq}, thread {event.thread}: marker {escape(text)}</title>"
            yield _upright("marker", x, _TOP - 16, self._bottom, title)
            letters = (end - x) // _LETTER
            if letters > 2:
                short = text if len(text) <= letters else f"{text[: letters - 1]}…"
                yield _drawn("text", "label", escape(short), x=x + 2, y=_TOP - 10)

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
            x, half = self._columns.get(point, -1), len(str(point)) * _LETTER // 2
            if x - half >= free:
                yield _drawn("text", "crash", str(point), x=x, y=10)
                free = x + half + _LETTER
