"""Look into a recording."""

import json

from daxemu.pmem.domain import events_of
from daxemu.pmem.format import EVENT_FLUSH, EVENT_STORE
from daxemu.pmem.reader import EventType


def events(directory):
    return list(events_of((directory / "log").read_bytes()))


def name_of(event):
    return EventType(event.type).name.lower()


def told(directory):
    """Events as (name, offset, length)."""
    return [
        (name_of(event), event.offset, event.length) if event.type & (EVENT_STORE | EVENT_FLUSH) else name_of(event)
        for event in events(directory)
    ]


def described(directory):
    return json.loads((directory / "meta.json").read_text())
