"""Write a log event by event."""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from daxemu.errors import UsageError
from daxemu.pmem import format as fmt
from daxemu.pmem.format import EVENT, LINE_SIZE, LOG_HEADER

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["LogWriter", "pack_header"]

_HEAD = struct.Struct(EVENT.format)  # type, flags, thread, length, offset, site


def pack_header(device_size: int, nr_events: int) -> bytes:
    """The header of a log; one with no events is still being written."""
    fields = {
        "magic": fmt.LOG_MAGIC,
        "version": fmt.LOG_VERSION,
        "header_size": LOG_HEADER.size,
        "device_size": device_size,
        "line_size": LINE_SIZE,
        "nr_events": nr_events,
    }
    return LOG_HEADER.pack(**fields, checksum=fmt.header_checksum(LOG_HEADER.pack(**fields)))


class LogWriter:
    """A log of a device of ``size`` bytes in the file ``path``. A context manager; only ``close`` completes it.

    ``thread`` is a number from 0 for each thread, ``site`` the address of the call. UsageError: what
    is told of does not lie in the device.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._size = size
        self._nr_events = 0
        self._file = path.open("wb")
        self._file.write(pack_header(size, 0))

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def store(
        self, offset: int, data: ReadableBuffer, thread: int = 0, site: int = 0, *, observed: bool = False
    ) -> None:
        """The line at ``offset`` holds ``data``, 64 bytes, from now on. ``observed``: it was found by a look at it."""
        line = bytes(data)
        if len(line) != LINE_SIZE or offset % LINE_SIZE:
            raise UsageError(
                f"{len(line)} bytes at {offset} are no line: a line is {LINE_SIZE} bytes at a multiple of it"
            )
        self._check(offset, LINE_SIZE)
        self._event(fmt.EVENT_STORE, LINE_SIZE, offset, thread, site, line, fmt.EVENT_OBSERVED if observed else 0)

    def flush(self, offset: int, length: int, thread: int = 0, site: int = 0) -> None:
        """The lines of this range are on their way to the memory (clwb)."""
        self._check(offset, length)
        self._event(fmt.EVENT_FLUSH, length, offset, thread, site)

    def persist(self, offset: int, length: int, thread: int = 0, site: int = 0) -> None:
        """``flush`` and ``fence``, as one event."""
        self._check(offset, length)
        self._event(fmt.EVENT_PERSIST, length, offset, thread, site)

    def fence(self, thread: int = 0, site: int = 0) -> None:
        """What this thread has flushed is durable from now on (sfence)."""
        self._event(fmt.EVENT_FENCE, 0, 0, thread, site)

    def marker(self, text: str, thread: int = 0, site: int = 0) -> None:
        """A note of the program's own."""
        payload = text.encode()
        self._event(fmt.EVENT_MARKER, len(payload), 0, thread, site, payload)

    def close(self) -> None:
        """Complete the log."""
        if self._file.closed:
            return
        with self._file:
            self._file.seek(0)
            self._file.write(pack_header(self._size, self._nr_events))

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self._size:
            raise UsageError(f"{length} bytes at {offset} are not all in a device of {self._size} bytes")

    def _event(
        self, kind: int, length: int, offset: int, thread: int, site: int, payload: bytes = b"", flags: int = 0
    ) -> None:
        self._nr_events += 1
        head = _HEAD.pack(kind, flags, thread, length, offset, site)
        self._file.write(head + payload.ljust(fmt.padded(len(payload)), b"\0"))
