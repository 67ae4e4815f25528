"""The report as one page of HTML that needs nothing else: what failed, and when which line was on its way."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from daxemu.pmem.format import LINE_SIZE
from daxemu.pmem.reader import Event, EventType
from daxemu.pmem.report import again_command, failure_text, finding_texts, summary
from daxemu.pmem.sites import Sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daxemu.pmem.explorer import Exploration
    from daxemu.pmem.reader import Recording

__all__ = ["report_page"]

_EVENTS, _LINES, _FAILURES = 1000, 200, 50  # more than this nobody can look at
_STEP, _ROW, _LEFT, _TOP = 14, 14, 90, 30  # pixels

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto }
.scroll { overflow-x: auto; border: 1px solid #ccc }
text { font: 10px monospace; fill: #555 }
.store { fill: #3b6fb6 } .flush { fill: #e39a2d } .fence { stroke: #999 } .marker { stroke: #2c9e4b }
.crash { stroke: #c22; stroke-dasharray: 3 2 } .missing { fill: none; stroke: #c22; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
body { color: #ddd; background: #181818 } pre { background: #262626 } text { fill: #aaa }
}
"""


def report_page(result: Exploration, recording: Recording) -> str:
    """Return the page. Of a long recording it draws the events up to the first failure, else the first ones."""
    sites = Sites(recording.modules)
    failures = result.failures[:_FAILURES]
    blocks = "".join(
        f"<pre>{escape(chr(10).join(failure_text(failure, sites, again_command(result, failure))))}</pre>"
        for failure in failures
    )
    findings = escape("\n".join(finding_texts(result.findings, sites)))
    return (
        "<!DOCTYPE html><html lang=en><meta charset=utf-8>"
        f"<title>Crash states of {escape(str(recording.path))}</title><style>{_STYLE}</style>"
        f"<h1>{escape(summary(result))}</h1>"
        f"<p>{escape(' '.join(recording.command) or str(recording.path))}, checked by {escape(result.check)}</p>"
        f"{'<h2>Failing states</h2>' + blocks if blocks else ''}"
        f"<h2>Events and lines</h2>{_legend()}<div class=scroll>{_timeline(result, recording)}</div>"
        f"{'<h2>Findings</h2><pre>' + findings + '</pre>' if findings else ''}</html>\n"
    )


def _legend() -> str:
    return (
        "<p>Time goes to the right, one event a column; rows are lines of 64 bytes. Blue: stored; orange: flushed; "
        "grey: a fence; green: a marker. Red: the power fails here, and the circled lines are missing.</p>"
    )


def _window(result: Exploration, recording: Recording) -> list[Event]:
    first = min((failure.state.point for failure in result.failures), default=0)
    behind = min(first, recording.nr_events)
    return [*islice(recording.events(), max(0, behind + 20 - _EVENTS), max(behind + 20, _EVENTS))]


def _timeline(result: Exploration, recording: Recording) -> str:
    events = _window(result, recording)
    columns = {event.seq: _LEFT + i * _STEP for i, event in enumerate(events)}
    end = _LEFT + len(events) * _STEP
    columns.setdefault(recording.end, end)
    touched = sorted({event.offset for event in events if event.type == EventType.STORE})[:_LINES]
    rows = {offset: _TOP + i * _ROW for i, offset in enumerate(touched)}
    height = _TOP + len(rows) * _ROW + 10
    drawn = [
        *(f"<text x=2 y={y + 10}>{offset:#x}</text>" for offset, y in rows.items()),
        *(part for event in events for part in _event(event, columns[event.seq], rows, height)),
        *_failures(result, columns, rows, height),
    ]
    return f"<svg width={end + _STEP} height={height}>{''.join(drawn)}</svg>"


def _event(event: Event, x: int, rows: dict[int, int], height: int) -> Iterator[str]:
    title = f"<title>event {event.seq}, thread {event.thread}: {event.type.name.lower()}"
    if event.type == EventType.STORE and event.offset in rows:
        yield f"<rect class=store x={x} y={rows[event.offset] + 2} width=10 height=10>{title}</title></rect>"
    if event.type & EventType.FLUSH:
        first, last = event.offset // LINE_SIZE * LINE_SIZE, event.offset + event.length
        for offset, y in rows.items():
            if first <= offset < last:
                yield f"<circle class=flush cx={x + 5} cy={y + 7} r=4>{title}</title></circle>"
    if event.type & EventType.FENCE:
        yield f"<line class=fence x1={x + 5} x2={x + 5} y1={_TOP - 6} y2={height}>{title}</title></line>"
    if event.type == EventType.MARKER:
        text = escape(event.data.decode(errors="replace"))
        yield f"<line class=marker x1={x + 5} x2={x + 5} y1={_TOP - 16} y2={height}>{title} {text}</title></line>"
        yield f"<text x={x + 7} y={_TOP - 10}>{text[:24]}</text>"


def _failures(result: Exploration, columns: dict[int, int], rows: dict[int, int], height: int) -> Iterator[str]:
    for failure in result.failures[:_FAILURES]:
        x = columns.get(failure.state.point)
        if x is None:
            continue
        title = f"<title>{escape(failure.reason)}</title>"
        yield f"<line class=crash x1={x} x2={x} y1=8 y2={height}>{title}</line>"
        for line in failure.missing:
            at = columns.get(line.seq)
            if line.offset in rows and at is not None:
                yield f"<circle class=missing cx={at + 5} cy={rows[line.offset] + 7} r=7>{title}</circle>"
