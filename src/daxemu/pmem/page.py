"""The report as one page of HTML that needs nothing else: what failed, and when which line was on its way."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from daxemu.pmem.findings import KINDS
from daxemu.pmem.picture import STYLE, legend
from daxemu.pmem.report import again_command, by_name, failure_text, many, notes, summary
from daxemu.pmem.sites import Sites
from daxemu.pmem.timeline import around, timeline
from daxemu.units import format_size

if TYPE_CHECKING:
    from daxemu.pmem.exploration import CrashFailure, Exploration
    from daxemu.pmem.reader import Recording

__all__ = ["report_page"]

_DRAWN, _TOLD = 10, 1000  # failures: more than these nobody can look at
_FINDINGS = 200

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --block: #f3f3f3 }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e2e2; --paper: #171717; --block: #242424 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); overflow-wrap: anywhere;
  max-width: 90rem; margin: 0 auto; padding: 1.5rem clamp(.8rem, 3vw, 3rem) }
h1 { font-size: 1.5rem; border-left: .4rem solid var(--fence); padding-left: .8rem }
h1.good { border-color: var(--marker) } h1.bad { border-color: var(--crash) }
h2 { font-size: 1.25rem; margin-top: 2rem } h3 { font-size: 1rem; margin: 0 }
code { font: .875rem/1.5 monospace; white-space: pre-wrap }
li code { display: block; max-height: 7.5em; overflow: auto; user-select: all }
li code { background: var(--block); padding: .1rem .3rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } dt { color: var(--text) } dd { margin: 0 }
article { border-left: .2rem solid var(--crash); padding-left: .8rem; margin: 1.5rem 0 } article ul { margin: .3rem 0 }
summary { cursor: pointer } table { border-collapse: collapse } td, th { text-align: left; vertical-align: top }
td, th { padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--rule) } small { color: var(--text) }
.scroll { display: flex; overflow: auto; max-height: 80vh; border: 1px solid var(--rule); font-size: 0 }
.scroll svg { flex: none } svg.lines { position: sticky; left: 0; background: var(--paper) }
.legend span, th { white-space: nowrap } .legend span { margin-right: 1rem } .legend line { stroke-width: 2 }
"""


def report_page(result: Exploration, recording: Recording) -> str:
    """Return the page."""
    sites = Sites(recording.modules, recording.site_names)
    verdict = "good" if result.ok else "bad"
    picture, told = timeline(recording, result.failures)
    return "".join(
        [
            "<!DOCTYPE html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width, initial-scale=1'>",
            f"<title>Crash states of {escape(str(recording.path))}</title><style>{STYLE}{_STYLE}</style>",
            f"<h1 class={verdict if result.states else 'none'}>{escape(summary(result))}</h1>",
            *_facts(result, recording),
            *(f"<p>Note: {escape(note)}</p>" for note in notes(recording)),
            *_failures(result, recording, sites),
            f"<h2>Timeline</h2>{'' if result.failures else legend()}<p>{told}:</p>",
            f"<div class=scroll>{picture.html(result.failures, sites)}</div>",
            *_findings(result, sites),
            "</html>\n",
        ]
    )


def _facts(result: Exploration, recording: Recording) -> Iterator[str]:
    """What was tried, and on what."""
    facts = {
        "Program": shlex.join(recording.command),
        "Check": result.check,
        "Recording": f"{recording.path}: {recording.nr_events} events",
        "Device": f"{recording.device}, {format_size(recording.size)}, {recording.domain}",
        "Speed": f"{result.states / max(result.seconds, 1e-9):.0f} states/s, {result.seconds:.1f} s",
    }
    rows = (f"<dt>{name}</dt><dd><code>{escape(text)}</code></dd>" for name, text in facts.items() if text)
    yield f"<dl>{''.join(rows)}</dl>"


def _failures(result: Exploration, recording: Recording, sites: Sites) -> Iterator[str]:
    """Those with the fewest missing lines first, each with what was on its way just then."""
    if not result.failures:
        return
    yield f"<h2>Failing states</h2>{legend()}"
    for failure in result.failures[:_DRAWN]:
        again = again_command(result, failure)
        title, *lines, _ = failure_text(failure, recording, sites, again)
        yield f"<article><h3>{escape(title)}</h3><ul>"
        yield from (f"<li>{escape(line.strip())}</li>" for line in lines)
        yield f"<li>again: <code>{escape(again)}</code></li></ul>"
        yield f"<div class=scroll>{around(recording, failure).html([failure], sites)}</div></article>"
    others = result.failures[_DRAWN:]
    if others:
        yield f"<details><summary>… and at {many(len(others), 'more crash point')}</summary><ul>"
        yield from (f"<li>{_short(failure, recording, sites)}</li>" for failure in others[:_TOLD])
        if len(others) > _TOLD:
            yield f"<li>… and at {many(len(others) - _TOLD, 'more crash point')}: --json has them all</li>"
        yield "</ul></details>"


def _short(failure: CrashFailure, recording: Recording, sites: Sites) -> str:
    title, *lines = failure_text(failure, recording, sites)
    return f"{escape(title)}<br><small>{escape('; '.join(line.strip() for line in lines[:2]))}</small>"


def _findings(result: Exploration, sites: Sites) -> Iterator[str]:
    """Kinds of what needs no check to be suspicious, with where it happened."""
    findings = by_name(result.findings, sites)
    if not findings:
        return
    yield "<h2>Findings</h2><table><tr><th>what</th><th>times</th><th>where</th><th>first</th></tr>"
    for finding in findings[:_FINDINGS]:
        where = escape(sites.where(finding.site, observed=finding.observed).removeprefix(", ").removeprefix(" at "))
        yield (
            f"<tr><td>{finding.kind}<br><small>{KINDS[finding.kind]}</small></td><td>{finding.count}</td>"
            f"<td>{where}</td><td>line {finding.offset:#x}, event {finding.seq}</td></tr>"
        )
    yield "</table>"
    if len(findings) > _FINDINGS:
        yield f"<p>… and {len(findings) - _FINDINGS} more: --json has them all</p>"
