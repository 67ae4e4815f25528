"""daxemu crash explore: a check on every state that a power failure during a recording may have left."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from daxemu.errors import DaxemuError, UsageError
from daxemu.pmem.exploration import Exploration
from daxemu.pmem.explorer import DEFAULT_LIMIT, refuse_options
from daxemu.pmem.explorer import explore as explore_states
from daxemu.pmem.orders import ORDERS
from daxemu.pmem.page import report_page
from daxemu.pmem.points import parse_points
from daxemu.pmem.reader import Recording
from daxemu.pmem.report import as_json, report_text
from daxemu.pmem.workers import interrupt

__all__ = ["EXPLORING", "command_of", "explore", "explore_and_tell", "refuse_exploring"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _new_page(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """What takes hours is not to fail at its end."""
    if name is None:
        return None
    path = Path(name)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--html {path}: no file can be written there; name one in a directory that is there")
    return name


_OPTIONS = (
    click.option(
        "--check",
        required=True,
        metavar="'CMD …'",
        help="Command that says by its exit status whether a state is right. {image} in it is a file that holds the "
        "state; without it, /dev/dax0.0 does. What it writes is gone afterwards.",
    ),
    click.option(
        "--points",
        default="fences",
        metavar="WHICH",
        show_default=True,
        help="Crash points: just before all fences, all flushes too, all markers, or every N events.",
    ),
    click.option(
        "--limit",
        default=DEFAULT_LIMIT,
        metavar="N",
        show_default=True,
        help="States to try at a crash point; of more than these a sample is tried.",
    ),
    click.option(
        "--order",
        default="auto",
        metavar="NAME",
        show_default=True,
        help=f"Which states: {', '.join(ORDERS)}, or what pmreorder calls them. full refuses more than --limit. "
        "NAME,SECTION=NAME has another one between the markers SECTION.BEGIN and SECTION.END.",
    ),
    click.option(
        "--resume", is_flag=True, help="Go on where an exploration with the same options was interrupted, if one was."
    ),
    click.option("--seed", default=0, metavar="N", show_default=True, help="Which random states a sample has."),
    click.option("--jobs", type=int, metavar="N", help="Processes that try; by default one for each processor."),
    click.option("--dask", metavar="ADDRESS", help="Try on the dask cluster of this scheduler: tcp://host:8786."),
    click.option(
        "--timeout", default=60.0, metavar="SECONDS", show_default=True, help="A check that takes longer has failed."
    ),
    click.option("--json", "as_json_", is_flag=True, help="Machine-readable report."),
    click.option(
        "--html", metavar="FILE", callback=_new_page, help="Write a page with all failures and a timeline to FILE."
    ),
)


def EXPLORING(function: Function) -> Function:  # noqa: N802 # stands where the options do
    """Give a command the options of explorations."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command()
@EXPLORING
@click.option("--state", metavar="STATE", help="Try only this state, by the name that a report gives it.")
@click.argument("directory")
def explore(directory: str, **options: Any) -> None:
    """Try CMD on every state that a power failure during the recording in DIRECTORY may have left.

    CMD finds the event before which the power fails in DAXEMU_CRASH_POINT, and the last markers, one a line, in
    DAXEMU_CRASH_MARKERS. Exit status 0: no state fails. 1: some do. 2: it could not be tried.

    \b
    daxemu crash explore log.daxcrash --check './recover /dev/dax0.0'
    daxemu crash explore log.daxcrash --check './verify {image}' --html report.html
    """  # noqa: D301 # click wants the character
    with Recording(directory) as recording:
        sys.exit(explore_and_tell(recording, **options))


def explore_and_tell(
    recording: Recording,
    *,
    check: str,
    points: str,
    order: str,
    limit: int,
    seed: int,
    resume: bool,
    jobs: int | None,
    dask: str | None,
    timeout: float,
    as_json_: bool,
    html: str | None,
    state: str | None = None,
    again: bool = True,
) -> int:
    """Explore with a progress line, print the report; the exit status.

    With ``again`` it says how to see each failure again. An interrupt answers as shells do for a signal: neither 0 nor
    1 has been found out.
    """
    command = command_of("--check", check)
    try:
        with _interruptible() as ended_by, _ProgressLine() as line:
            result = explore_states(
                recording,
                command,
                points=parse_points(points),
                order=order,
                limit=limit,
                seed=seed,
                jobs=len(os.sched_getaffinity(0)) if jobs is None else jobs,
                dask=dask,
                timeout=timeout,
                state=state,
                resume=resume,
                progress=line.show,
            )
    except (KeyboardInterrupt, DaxemuError) as interrupted:
        notes = getattr(interrupted, "__notes__", ()) if again else ()
        if not notes and isinstance(interrupted, KeyboardInterrupt):
            print("daxemu: interrupted: nothing is kept to go on with", file=sys.stderr)
        for note in notes:
            options = {
                "--points": points,
                "--order": order,
                "--limit": limit,
                "--seed": seed,
                "--timeout": f"{timeout:g}",
            }
            told = [str(part) for option in options.items() for part in option]
            command = ["daxemu", "crash", "explore", str(recording.path), "--check", check, *told, "--resume"]
            print(f"daxemu: interrupted: {note}: {shlex.join(command)}", file=sys.stderr)
        if not isinstance(interrupted, KeyboardInterrupt):
            raise
        return 128 + ended_by[0]
    if as_json_:
        print(json.dumps(as_json(result, recording), indent=2))
    else:
        print("\n".join(report_text(result, recording, command=again)))
    if html:
        try:
            Path(html).write_text(report_page(result, recording), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"--html {html}: {error.strerror}") from None
    return 0 if result.ok else 1


def command_of(option: str, text: str) -> list[str]:
    """The words of a command in an option. UsageError: it is not quoted as a shell wants it."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}") from None


def refuse_exploring(check: str, points: str, jobs: int | None, **options: Any) -> None:
    """Raise UsageError for options that no recording can be explored with: before one is made."""
    wanted = {name: options[name] for name in ("order", "limit", "dask", "timeout")}
    refuse_options(
        command_of("--check", check), points=parse_points(points), jobs=1 if jobs is None else jobs, **wanted
    )


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are the same KeyboardInterrupt; the numbers of those there were."""
    numbers: list[int] = []

    def end(number: int, _: object) -> None:
        numbers.append(number)
        interrupt()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _ProgressLine:
    """One line on a terminal, over and over."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._on = sys.stderr.isatty()

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._on and self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, result: Exploration, total: int) -> None:
        now = time.monotonic()
        if not self._on or now - self._shown < 0.1:
            return
        self._shown = now
        resumed = f" ({result.resumed} resumed)" if result.resumed else ""
        left = result.seconds / result.points * (total - result.points)
        where = f" on {result.jobs} threads of {result.workers} workers" if result.workers else ""
        text = (
            f"{result.points} of {total} crash points{resumed}, {result.states} states, "
            f"{result.states / max(result.seconds, 1e-9):.0f} a second{where}, "
            f"{result.failed} failed, {left:.0f} s left"
        )
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
