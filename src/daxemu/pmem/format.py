"""The log of a recording and what its writers share, once: Python packs by it, the C header is generated from it.

A log is a header and then events, each with its payload padded; all little endian. Run as
a program (``python format.py HEADER``, with ``src`` on the path) this file writes the header.
"""

from __future__ import annotations

import sys
from pathlib import Path

from daxemu.session.layout import Record

__all__ = [
    "CONSTANTS",
    "EVENT",
    "EVENT_FENCE",
    "EVENT_FLUSH",
    "EVENT_MARKER",
    "EVENT_OBSERVED",
    "EVENT_PERSIST",
    "EVENT_STORE",
    "EVENT_UNFINISHED",
    "LINE_SIZE",
    "LOG_HEADER",
    "LOG_HELD",
    "LOG_MAGIC",
    "LOG_MOST",
    "LOG_VERSION",
    "MARKER_MOST",
    "RECORDINGS_MOST",
    "SCANNED_DIFF",
    "SCANNED_PAGEMAP",
    "SCANNED_SELDOM",
    "SHADOW_OFFSET",
    "STATE",
    "STOPPED_CLOSED",
    "STOPPED_FULL",
    "header_checksum",
    "padded",
]

LOG_MAGIC = int.from_bytes(b"DAXCRASH", "little")
LOG_VERSION = 2
LINE_SIZE = 64  # bytes: what the cache writes back as a whole

# ``nr_events`` is 0 while the log is being written; ``checksum`` is that of the fields before it.
LOG_HEADER = Record(
    "pmem_log_header",
    {
        "magic": "Q",
        "version": "I",
        "header_size": "I",
        "device_size": "Q",
        "line_size": "I",
        "flags": "I",
        "nr_events": "Q",
        "checksum": "Q",
        "unused": "Q",
        "unused_too": "Q",
    },
)

# STORE: the line at ``offset`` holds the payload from here on. FLUSH: the lines of the range are on their
# way to the memory. FENCE: what this thread has flushed is there. PERSIST is both, by one call; each is a
# bit. MARKER: the payload is a text.
EVENT_STORE = 1
EVENT_FLUSH = 2
EVENT_FENCE = 4
EVENT_PERSIST = EVENT_FLUSH | EVENT_FENCE
EVENT_MARKER = 8

# In ``flags`` of a STORE: it was found by a look at the device; thread and site are of who looked.
EVENT_OBSERVED = 1

# An event has its number, from 1, by its place. ``thread`` counts threads from 0; ``offset`` and ``length`` are
# bytes of the device, but of a STORE and a MARKER ``length`` is that of the payload. ``site`` is the caller's
# address, 0: not known.
EVENT = Record(
    "pmem_event",
    {
        "type": "B",
        "flags": "B",
        "thread": "H",
        "length": "I",
        "offset": "Q",
        "site": "Q",
    },
)

# Of a recording under way, by which all writers work together: this, locks of pages, and at SHADOW_OFFSET the
# device as it is known to the log. ``tail`` is where the next event goes, ``collected`` up to where the log's file
# has them, ``limit`` up to where there is room, in whole MiB; what is not collected is
# to be no more than ``held_most``. ``nr_threads`` is the next thread's number.
# Before an event whose type is in ``scan_at``, and has come ``scan_every`` times since, whoever writes it looks for
# lines that nobody has flushed; ``scanned`` is how that was done. 0: each time, but where all has to be compared less
# often, as ``scan_debt`` says: the bytes that were compared and are not made up for. ``scan_diff``: always by
# comparing all (tests).
# ``missed`` is why a program could not take part, an errno.
# ``sharing``: is there only the first thread, which writes without locks while it is ``busy``; soon not; or not?
STATE = Record(
    "pmem_state",
    {
        "tail": "Q",
        "collected": "Q",
        "limit": "Q",
        "held_most": "Q",
        "device_size": "Q",
        "dev": "Q",
        "ino": "Q",
        "scan_debt": "Q",
        "nr_threads": "I",
        "stopped": "I",
        "scan_at": "I",
        "scan_every": "I",
        "scan_count": "I",
        "scan_diff": "I",
        "scanned": "I",
        "sharing": "I",
        "busy": "I",
        "missed": "I",
    },
)
SCANNED_PAGEMAP = 1  # the kernel told which pages were stored to
SCANNED_DIFF = 2
SCANNED_SELDOM = 4  # and not each time, as there is so much

STOPPED_CLOSED = 1
STOPPED_FULL = 2  # no room for more events

STATE_ALONE = 0
STATE_SOON = 1
STATE_SHARED = 2

STATE_LOCKS_OFFSET = 1024
STATE_NR_LOCKS = 512
SHADOW_OFFSET = 4096
RECORDINGS_MOST = 4  # devices of a session that are recorded at the same time
LOG_MOST = 1 << 36  # bytes, in memory only until they are collected
LOG_HELD = 1 << 30  # bytes in memory, about: who writes faster than the file takes them has to wait
MARKER_MOST = (1 << 16) - 1  # bytes
LOG_PADDING = 8  # bytes: a payload takes a multiple of it
LOG_STRIDE = 256  # events: where each of so many lies is known of a log that is open

# An event that is being written has this besides its type; where its writer was killed it stays so.
EVENT_UNFINISHED = 0x80

_SHARED = ("LOG_", "LINE_", "EVENT_", "MARKER_", "STATE_", "STOPPED_", "SHADOW_", "SCANNED_", "RECORDINGS_")
CONSTANTS = {
    name: value for name, value in list(globals().items()) if name.startswith(_SHARED) and isinstance(value, int)
}


def padded(length: int) -> int:
    """Bytes that a payload takes in the log."""
    return -(-length // LOG_PADDING) * LOG_PADDING


def header_checksum(header: bytes) -> int:
    """The checksum of a header: the sum of the 8-byte words before it."""
    before = header[: LOG_HEADER.offset("checksum")]
    words = (int.from_bytes(before[at : at + 8], "little") for at in range(0, len(before), 8))
    return sum(words) % (1 << 64)


def c_header() -> str:
    """The whole as a C header."""
    defines = "".join(f"#define DX_{name} {value:#x}\n" for name, value in CONSTANTS.items())
    structs = "\n".join(record.c_struct() for record in (LOG_HEADER, EVENT, STATE))
    return (
        "/* Generated from pmem/format.py: change it there. */\n"
        f"#ifndef DX_PMEM_FORMAT_H\n#define DX_PMEM_FORMAT_H\n#include <stdint.h>\n\n{defines}\n{structs}\n#endif\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(c_header(), encoding="ascii")
