"""Look into a recording."""

import json

from daxemu.pmem.domain import events_of
from daxemu.pmem.format import EVENT_FENCE, EVENT_FLUSH, EVENT_MARKER, EVENT_STORE

NAMES = {EVENT_STORE: "store", EVENT_FLUSH: "flush", EVENT_FENCE: "fence", EVENT_MARKER: "marker"}


def events(directory):
    return list(events_of((directory / "log").read_bytes()))


def told(directory):
    """Events as (name, offset, length)."""
    return [
        (NAMES[event.type], event.offset, event.length)
        if event.type in (EVENT_STORE, EVENT_FLUSH)
        else NAMES[event.type]
        for event in events(directory)
    ]


def described(directory):
    return json.loads((directory / "meta.json").read_text())
