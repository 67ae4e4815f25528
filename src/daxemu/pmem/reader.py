"""Recordings as they are on disk: read, and refused if they are damaged."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from itertools import islice
from operator import itemgetter
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from daxemu._core import index_log
from daxemu.errors import UsageError
from daxemu.pmem import format as fmt
from daxemu.pmem.format import EVENT, LINE_SIZE, LOG_HEADER

__all__ = ["Event", "EventType", "Module", "Recording"]


class EventType(IntEnum):
    """What an event says."""

    STORE = fmt.EVENT_STORE
    FLUSH = fmt.EVENT_FLUSH
    FENCE = fmt.EVENT_FENCE
    PERSIST = fmt.EVENT_PERSIST
    MARKER = fmt.EVENT_MARKER


class Event(NamedTuple):
    """One event: ``seq`` is its place among all, ``thread`` a number from 0, ``site`` an address in the program.

    ``data`` is what the line of 64 bytes holds from a store on, or the text of a marker. A store that is ``observed``
    was found by a look at the device: ``thread`` and ``site`` are of who looked.
    """

    seq: int
    type: EventType
    thread: int
    offset: int
    length: int
    site: int
    data: bytes = b""
    observed: bool = False

    def reaches(self, line: int) -> bool:
        """Does it store or flush any byte of the line at this offset?"""
        stores_or_flushes = self.type & (EventType.STORE | EventType.FLUSH)
        return bool(stores_or_flushes) and self.offset < line + LINE_SIZE and line < self.offset + self.length


class Module(NamedTuple):
    """Code of the recorded program: a file mapped at [start, end) from ``offset`` on."""

    start: int
    end: int
    offset: int
    path: str


# What meta.json may say: a type, or a list of one.
_MODULE = {"start": int, "end": int, "offset": int, "path": str}
_FIELDS: dict[str, Any] = {
    "device": str,
    "size": int,
    "align": int,
    "domain": str,
    "command": [str],
    "status": (int, NoneType),
    "sources": [str],
    "modules": [_MODULE],
    "sites": [str],
    "cut_short": str,
}


def _is(value: object, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is(item, kind[0]) for item in value)
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(_is(value.get(name), part) for name, part in kind.items())
    return isinstance(value, kind)


_TYPES = {int(kind): kind for kind in EventType}
_WITH_PAYLOAD = (fmt.EVENT_STORE, fmt.EVENT_MARKER)
_STRUCT = struct.Struct(EVENT.format)


class Recording:
    """A recording: what a device held at its begin, and the stores, flushes and fences since. A context manager.

    One whose recorder was killed has what was in its log by then; ``cut_short`` is then why the end is missing.
    UsageError: there is none in that directory, it is still being made, or it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        meta = self._read_meta()
        self.device: str = meta["device"]
        self.size: int = meta["size"]
        self.align: int = meta["align"]
        self.domain: str = meta["domain"]
        self.command: list[str] = meta.get("command") or []
        self.status: int | None = meta.get("status")
        self.sources: list[str] = meta.get("sources") or []
        self.site_names: list[str] = meta.get("sites") or []
        self.cut_short: str = meta.get("cut_short") or ""
        self.modules = [Module(*(m[name] for name in Module._fields)) for m in meta.get("modules") or []]
        self._log = self._map_log()
        try:
            self._index()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the log, once nobody uses it any more."""
        with suppress(BufferError):
            self._log.close()

    @property
    def eadr(self) -> bool:
        """Are stores safe without a flush, as caches are flushed when the power fails?"""
        return self.domain == "cpu_cache"

    @property
    def end(self) -> int:
        """The sequence number behind the last event."""
        return self.nr_events + 1

    def _refuse(self, why: str) -> UsageError:
        return UsageError(f"{self.path} is no recording that can be read: {why}")

    def _read_meta(self) -> dict[str, Any]:
        try:
            meta = json.loads((self.path / "meta.json").read_text())
            size = (self.path / "base").stat().st_size
        except OSError as error:
            raise self._refuse(f"{error.strerror} ({error.filename}); make one by 'daxemu crash record'") from None
        except ValueError as error:
            raise self._refuse(f"meta.json: {error}") from None
        if not isinstance(meta, dict) or meta.get("version") != fmt.LOG_VERSION:
            found = meta.get("version") if isinstance(meta, dict) else None
            raise self._refuse(f"its version is {found!r}, this daxemu reads {fmt.LOG_VERSION}; record it again")
        missing = [name for name in ("device", "size", "align", "domain") if name not in meta]
        if missing:
            raise self._refuse(f"meta.json does not say {', '.join(missing)}")
        wrong = [name for name, kind in _FIELDS.items() if name in meta and not _is(meta[name], kind)]
        if wrong:
            raise self._refuse(f"meta.json: {', '.join(wrong)} is not what it should be; record it again")
        if size != meta["size"] or not size:
            raise self._refuse(f"base has {size} bytes, the device {meta['size']}")
        return meta

    def _map_log(self) -> mmap.mmap:
        path = self.path / "log"
        try:
            with path.open("rb") as file:
                length = path.stat().st_size
                if length < LOG_HEADER.size:
                    raise self._refuse(f"log has {length} bytes, fewer than its header")
                if self.cut_short:
                    self._refuse_unfinished(file.fileno())
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise self._refuse(f"{error.strerror} ({path})") from None

    def _refuse_unfinished(self, log: int) -> None:
        try:
            fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self.path} is still being recorded; end that first") from None
        except OSError:  # there are no locks here
            return

    def _index(self) -> None:
        """Walk all events once, so that nothing later meets a damaged one."""
        packed = self._log[: LOG_HEADER.size]
        header = LOG_HEADER.unpack(packed)
        if header["magic"] != fmt.LOG_MAGIC:
            raise self._refuse("log: it does not begin as one does")
        if header["version"] != fmt.LOG_VERSION:
            raise self._refuse(f"log: its version is {header['version']}, this daxemu reads {fmt.LOG_VERSION}")
        if header["checksum"] != fmt.header_checksum(packed) or header["line_size"] != LINE_SIZE:
            raise self._refuse("log: its header is damaged")
        torn = header["nr_events"] == 0 and bool(self.cut_short)
        if header["nr_events"] == 0 and not torn:
            raise self._refuse("log: it has no events: nothing was stored meanwhile, or it is not complete")
        if header["device_size"] != self.size:
            raise self._refuse(f"log is of a device of {header['device_size']} bytes, base of {self.size}")
        try:
            self.nr_events, self._end, fences, flushes, places, self.markers = index_log(self._log, self.size, torn)
        except ValueError as error:
            raise self._refuse(f"log: {error}") from None
        self._log.madvise(mmap.MADV_DONTNEED)  # it is not to count as ours before it is needed again
        self.fences, self.flushes, self._places = (array("Q", numbers) for numbers in (fences, flushes, places))
        if not self.nr_events:
            raise self._refuse(f"log: it has no events: {self.cut_short} before there was one in the file")
        if not torn and self.nr_events != header["nr_events"]:
            raise self._refuse(f"log has {self.nr_events} events and should have {header['nr_events']}")

    def events(self, first: int = 1) -> Iterator[Event]:
        """All events from the one of this number on, in order: of the log, no more than one is in memory."""
        skipped, past = divmod(first - 1, fmt.LOG_STRIDE)
        if skipped < len(self._places):
            yield from islice(self._events(self._places[skipped], skipped * fmt.LOG_STRIDE + 1), past, None)

    def _events(self, at: int, seq: int) -> Iterator[Event]:
        log, record = self._log, _STRUCT
        while seq < self.end:
            kind, flags, thread, length, offset, site = record.unpack_from(log, at)
            at += record.size
            data = b""
            if kind in _WITH_PAYLOAD:
                data = log[at : at + length]
                at += fmt.padded(length)
            yield Event(seq, _TYPES[kind], thread, offset, length, site, data, bool(flags & fmt.EVENT_OBSERVED))
            seq += 1

    def last_markers(self, seq: int, most: int = 8) -> list[str]:
        """The last markers before an event, the newest last."""
        behind = self.markers_before(seq)
        return [text for _, text in self.markers[max(0, behind - most) : behind]]

    def markers_before(self, seq: int) -> int:
        """How many markers there are before an event."""
        return bisect_left(self.markers, seq, key=itemgetter(0))

    def open_base(self) -> int:
        """A descriptor of what the device held at the begin."""
        return os.open(self.path / "base", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def bytes_of_events(self) -> memoryview:
        """All events as they are in the log."""
        return memoryview(self._log)[LOG_HEADER.size : self._end]
