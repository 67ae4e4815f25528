"""daxemu crash show: a recording for people to read."""

from __future__ import annotations

import json
import os

import click

from daxemu._core import copy_changes
from daxemu.errors import UsageError
from daxemu.pmem.findings import find
from daxemu.pmem.reader import Event, EventType, Recording
from daxemu.pmem.report import finding_texts, notes
from daxemu.pmem.sites import Sites
from daxemu.pmem.states import CrashImage, parse_state
from daxemu.units import format_size

__all__ = ["show"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: an object for each event, one a line.")
@click.option("--state", metavar="STATE", help="A state, by the name that a report gives it, to be written.")
@click.option("--image", metavar="FILE", help="Write the --state to a new FILE.")
@click.argument("directory")
def show(directory: str, as_json: bool, state: str | None, image: str | None) -> None:
    """Show the recording in DIRECTORY: events, flushes that lack or are for nothing; or write a state of it."""
    if (state is None) != (image is None):
        raise UsageError("--state and --image go together: the state is written to the file")
    with Recording(directory) as recording:
        if state is not None and image is not None:
            _write_image(recording, state, image)
            return
        sites = Sites(recording.modules, recording.site_names)
        if as_json:
            for event in recording.events():
                print(json.dumps(_as_object(event, sites)))
            return
        _show_description(recording)
        for event in recording.events():
            print(_as_line(event, sites))
        for text in (*(f"note: {note}" for note in notes(recording)), *finding_texts(find(recording), sites)):
            print(text)


def _show_description(recording: Recording) -> None:
    print(f"device {recording.device}, {format_size(recording.size)}, {recording.domain}, {recording.nr_events} events")
    if recording.command:
        ended = "" if recording.status is None else f", exit status {recording.status}"
        print(f"command {' '.join(recording.command)}{ended}")


def _as_line(event: Event, sites: Sites) -> str:
    head = f"{event.seq:>8}  thread {event.thread}  {event.type.name.lower():<7}"
    what = ""
    if event.type == EventType.STORE:
        what = f"  {event.offset:#x}  {event.data[:16].hex(' ', 8)}…"
    elif event.type & EventType.FLUSH:
        what = f"  {event.offset:#x} + {event.length}"
    elif event.type == EventType.MARKER:
        what = f"  {event.data.decode(errors='replace')}"
    name = sites.name(event.site)
    seen = "seen at " if event.observed else ""
    return f"{head}{what}{f'  {seen}{name}' if name else ''}".rstrip()


def _as_object(event: Event, sites: Sites) -> dict[str, object]:
    found: dict[str, object] = {"event": event.seq, "type": event.type.name.lower(), "thread": event.thread}
    if event.type & (EventType.STORE | EventType.FLUSH):
        found |= {"offset": event.offset, "length": event.length}
    if event.type == EventType.STORE:
        found |= {"data": event.data.hex(), "observed": event.observed}
    if event.type == EventType.MARKER:
        found["text"] = event.data.decode(errors="replace")
    return found | {"site": sites.name(event.site)}


def _write_image(recording: Recording, state: str, path: str) -> None:
    wanted = parse_state(state)
    with CrashImage(recording) as image:
        image.show(wanted)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageError(f"--image {path}: {error.strerror}; name a new file") from None
        try:
            os.truncate(fd, recording.size)
            copy_changes(image.fd, fd, recording.size)
        finally:
            os.close(fd)
