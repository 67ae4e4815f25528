"""Look into a recording."""

import json

from daxemu.pmem.format import LOG_HEADER
from daxemu.pmem.reader import EventType, Recording


def events(directory):
    if (directory / "log").stat().st_size == LOG_HEADER.size:
        return []
    with Recording(directory) as recording:
        return list(recording.events())


def told(directory):
    """Events as (name, offset, length)."""
    with_range = EventType.STORE | EventType.FLUSH
    return [
        (event.type.name.lower(), event.offset, event.length) if event.type & with_range else event.type.name.lower()
        for event in events(directory)
    ]


def described(directory):
    return json.loads((directory / "meta.json").read_text())
