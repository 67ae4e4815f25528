"""What an exploration has found, for people to read and for programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daxemu.pmem.sites import Sites

if TYPE_CHECKING:
    from daxemu.pmem.exploration import CrashFailure, Exploration, MissingLine
    from daxemu.pmem.findings import Finding
    from daxemu.pmem.reader import Recording

__all__ = [
    "again_command",
    "as_json",
    "by_name",
    "failure_text",
    "finding_texts",
    "many",
    "notes",
    "report_text",
    "summary",
]

_SHOWN = 10


def many(count: int, what: str) -> str:
    """Return ``1 state``, ``2 states``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def summary(result: Exploration) -> str:
    """One line."""
    counted = f"{many(result.states, 'state')} at {many(result.points, 'crash point')}"
    partly = [f"{n} of them {how}" for n, how in ((result.sampled, "sampled"), (result.untried, "not tried")) if n]
    sampled = f" ({', '.join(partly)})" if partly and result.states else ""
    if result.order != "auto":
        sampled += f", order {result.order}"
    if not result.states:
        return f"No state was tried: {counted}{sampled}"
    if result.ok:
        return f"No state fails: {counted}{sampled}"
    return f"{result.failed} of {counted}{sampled} fail{'s' if result.failed == 1 else ''}"


def missing_text(line: MissingLine, sites: Sites) -> str:
    """A missing line in words."""
    where = sites.where(line.site, observed=line.observed)
    holds = f"holds store {line.holds} of {line.stores}" if line.holds else "holds what was durable"
    return f"line {line.offset:#x} {holds}; missing: event {line.seq}{where}"


def _site(failure: CrashFailure, recording: Recording) -> int:
    """Where the program was when the power failed; 0 at the end."""
    return next((event.site for event in recording.events(failure.state.point)), 0)


def failure_text(failure: CrashFailure, recording: Recording, sites: Sites, again: str = "") -> Iterator[str]:
    """A failure in lines: what fails, what is missing, what had been done, how to see it again."""
    old = len(failure.state.lines)
    name = failure.state if old <= _SHOWN else f"{failure.state.point} with {old} older lines"
    yield f"state {name}: {failure.reason}"
    if failure.unsteady:
        yield "  it failed once, and passed when tried again: the check may be unsteady, or what is around it"
    where = ", at the end" if failure.state.point == recording.end else sites.where(_site(failure, recording))
    yield f"  power fails before event {failure.state.point}{where}; failing there: {many(failure.states, 'state')}"
    for line in failure.missing[:_SHOWN]:
        yield f"  {missing_text(line, sites)}"
    if len(failure.missing) > _SHOWN:
        yield f"  … and {len(failure.missing) - _SHOWN} more lines"
    if not failure.missing:
        yield f"  nothing is missing: it {'failed' if failure.unsteady else 'fails'} with all that was stored"
    if failure.markers:
        yield f"  last markers: {', '.join(failure.markers[-3:])}"
    if again:
        yield f"  again: {again}"
    elif old > _SHOWN:
        yield f"  its name: {failure.state}"


def by_name(findings: list[Finding], sites: Sites) -> list[Finding]:
    """Those of one place as one: a program that ran several times had its code at several addresses."""
    merged: dict[tuple[str, str, bool], Finding] = {}
    for finding in findings:
        key = finding.kind, sites.name(finding.site), finding.observed
        other = merged.get(key, finding)
        first = min(finding, other, key=lambda one: one.seq)
        merged[key] = first if other is finding else replace(first, count=finding.count + other.count)
    return [*merged.values()]


def finding_texts(findings: list[Finding], sites: Sites) -> Iterator[str]:
    """Findings, one a line."""
    for finding in by_name(findings, sites):
        where = sites.where(finding.site, observed=finding.observed)
        yield (
            f"{finding.kind}: {many(finding.count, 'time')}{where}, "
            f"first line {finding.offset:#x} by event {finding.seq}"
        )


def notes(recording: Recording) -> list[str]:
    """What is to be known about a recording before its findings are believed."""
    found = []
    if recording.cut_short:
        last = recording.last_markers(recording.end, 1)
        where = f" (the last marker is {last[0]})" if last else ""
        events = many(recording.nr_events, "event")
        found.append(f"the recording is cut short after {events}{where}: {recording.cut_short}")
    if "scan:seldom" in recording.sources:
        found.append(
            "lines that nobody had flushed were looked for before some fences only, as each time all of the device has "
            "to be compared here ('daxemu doctor' says why); --scan 1 looks before each"
        )
    if not (recording.eadr or recording.flushes or recording.fences):
        found.append(
            "no flush and no fence was recorded: either there is none, or the program does it unseen, by instructions "
            "of its own or by a libpmem that is linked into it ('daxemu doctor PROGRAM' tells)"
        )
    return found


def again_command(result: Exploration, failure: CrashFailure) -> str:
    """What to type to see it fail again."""
    return shlex.join(
        ["daxemu", "crash", "explore", str(result.recording), "--state", str(failure.state), "--check", result.check]
    )


def report_text(result: Exploration, recording: Recording, *, command: bool = True) -> Iterator[str]:
    """The whole report: failures first, those with the fewest missing lines before others, unsteady ones last.

    With ``command`` each says how to see it again from the command line.
    """
    sites = Sites(recording.modules, recording.site_names)
    yield summary(result) + f" ({result.states / max(result.seconds, 1e-9):.0f} states/s)"
    for failure in result.failures[:_SHOWN]:
        yield ""
        yield from failure_text(failure, recording, sites, again_command(result, failure) if command else "")
    if len(result.failures) > _SHOWN:
        yield ""
        yield f"… and at {many(len(result.failures) - _SHOWN, 'more crash point')}"
    suspicious = [*(f"note: {note}" for note in notes(recording)), *finding_texts(result.findings, sites)]
    if suspicious:
        yield ""
        yield from suspicious


def as_json(result: Exploration, recording: Recording) -> dict[str, Any]:
    """The report for programs."""
    sites = Sites(recording.modules, recording.site_names)
    return {
        "recording": str(result.recording),
        "command": recording.command,
        "cut_short": recording.cut_short,
        "check": result.check,
        "order": result.order,
        "points": result.points,
        "sampled": result.sampled,
        "untried": result.untried,
        "states": result.states,
        "failed": result.failed,
        "seconds": round(result.seconds, 3),
        "failures": [
            {
                "state": str(failure.state),
                "point": failure.state.point,
                "site": sites.name(_site(failure, recording)),
                "reason": failure.reason,
                "states": failure.states,
                "unsteady": failure.unsteady,
                "markers": [*failure.markers],
                "missing": [
                    {
                        "offset": line.offset,
                        "holds": line.holds,
                        "stores": line.stores,
                        "event": line.seq,
                        "site": sites.name(line.site),
                        "observed": line.observed,
                    }
                    for line in failure.missing
                ],
            }
            for failure in result.failures
        ],
        "notes": notes(recording),
        "findings": [
            {
                "kind": finding.kind,
                "count": finding.count,
                "site": sites.name(finding.site),
                "observed": finding.observed,
                "offset": finding.offset,
                "event": finding.seq,
            }
            for finding in by_name(result.findings, sites)
        ],
    }
