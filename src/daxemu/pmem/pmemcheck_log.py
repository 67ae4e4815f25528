"""The log that pmemcheck writes of a program's stores, pmreorder's input: read, and refused if it is damaged."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from daxemu.errors import UsageError
from daxemu.pmem.format import MARKER_MOST

__all__ = ["Fence", "Flush", "Mapping", "Marker", "Record", "Store", "StoreLog", "place_of"]

_HEX = rb"(?:0x)?([0-9a-f]{1,16})"
_STORE = re.compile(
    rb"STORE;" + _HEX + rb";(?:0x)?([0-9a-f]{1,512});" + _HEX + rb"(?:;(.*))?", re.IGNORECASE | re.DOTALL
)
_FLUSH = re.compile(rb"FLUSH;" + _HEX + rb";" + _HEX, re.IGNORECASE)
_FILE = re.compile(rb"REGISTER_FILE;(.+);" + _HEX + rb";" + _HEX + rb";" + _HEX, re.IGNORECASE | re.DOTALL)
_SHAPES = {
    b"STORE": "STORE;address;value;size with hexadecimal numbers",
    b"FLUSH": "FLUSH;address;size with hexadecimal numbers",
    b"REGISTER_FILE": "REGISTER_FILE;path;address;size;offset with hexadecimal numbers",
}
_STORED_MOST = 256  # bytes by one store; pmemcheck knows no larger ones
_FRAME = re.compile(r"(?:0x[0-9A-Fa-f]+: )?(.+?) \((in )?([^()]*)\)")
_SAID = re.compile(rb"(==|--|\*\*)[0-9:. ]*[0-9]\1(?=[ \n]|\Z)")  # so begins what Valgrind says, up to the line's end
_COMMAND = re.compile(rb"==[0-9:. ]*[0-9]== Command: ([^\n]*)")


class Mapping(NamedTuple):
    """A file that is mapped at [start, end), from ``offset`` on."""

    path: str
    start: int
    end: int
    offset: int


class Store(NamedTuple):
    """Bytes are stored from an address on; ``trace`` has the frames of the stack, or is empty."""

    start: int
    data: bytes
    trace: str


class Flush(NamedTuple):
    """[start, end) is on its way to the memory."""

    start: int
    end: int


class Fence(NamedTuple):
    """What was flushed is there."""


class Marker(NamedTuple):
    """A note of the program, or a word for pmreorder."""

    text: str


Record = Mapping | Store | Flush | Fence | Marker


class StoreLog:
    """The records of a log, one after the other: they are separated by ``|``, their fields by ``;``.

    A context manager. UsageError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is empty"
            raise UsageError(f"{path}: {why}; give the file that valgrind wrote by --log-file=FILE") from None

    def __enter__(self) -> StoreLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    def _texts(self) -> Iterator[tuple[int, bytes]]:
        """Where each record begins, and what it is without what Valgrind says in between to people."""
        data, end = self._data, len(self._data)
        text, at = b"", 0
        while at <= end:
            bar = data.find(b"|", at)
            piece = data[at : bar if bar >= 0 else end]
            said = _SAID.search(piece)
            if said is None:
                yield at, (text + piece).strip()
                text, at = b"", at + len(piece) + 1
            else:
                line = data.find(b"\n", at + said.start())
                text += piece[: said.start()]
                at = line + 1 if line >= 0 else end

    def mappings(self) -> list[Mapping]:
        """All files that are registered. UsageError: this is no log at all."""
        found = []
        for number, (at, text) in enumerate(self._texts(), 1):
            if number == 1 and text != b"START":
                raise UsageError(
                    f"{self.path} is no store log of pmemcheck: it does not begin with START; make one by "
                    "valgrind --tool=pmemcheck --log-stores=yes --log-file=FILE"
                )
            if text.startswith(b"REGISTER_FILE;"):
                record = self._parse(number, at, text)
                assert isinstance(record, Mapping)
                found.append(record)
        return found

    def command(self) -> list[str]:
        """The command that was recorded, if the log tells."""
        begin = self._data.find(b"START|")
        told = _COMMAND.search(self._data, 0, max(begin, 0))
        return told[1].decode(errors="replace").split() if told else []

    def records(self) -> Iterator[Record]:
        """What concerns the memory. UsageError: the log is damaged, or its end is missing."""
        stopped = False
        for number, (at, text) in enumerate(self._texts(), 1):
            if stopped and text:
                raise self._refuse(number, at, text, "nothing behind STOP")
            if text == b"STOP":
                stopped = True
            elif text and text != b"COMMIT" and number > 1:  # an instruction that processors do not have any more
                yield self._parse(number, at, text)
        if not stopped:
            raise UsageError(f"{self.path}: its last record is not STOP; the log was cut, or the program killed")

    def _parse(self, number: int, at: int, text: bytes) -> Record:
        kind = text.partition(b";")[0]
        if kind == b"STORE" and (found := _STORE.fullmatch(text)):
            return self._store(number, at, found)
        if kind == b"FLUSH" and (found := _FLUSH.fullmatch(text)):
            start, length = int(found[1], 16), int(found[2], 16)
            return Flush(start, start + length)
        if kind == b"REGISTER_FILE" and (found := _FILE.fullmatch(text)):
            start, length, offset = (int(found[i], 16) for i in (2, 3, 4))
            if length == 0:
                raise self._refuse(number, at, text, "a mapping that has a size")
            return Mapping(found[1].decode(errors="replace"), start, start + length, offset)
        if kind in _SHAPES:
            raise self._refuse(number, at, text, _SHAPES[kind])
        if text == b"FENCE":
            return Fence()
        if text == b"START":
            raise self._refuse(number, at, text, "one program; the logs of several need a file each, --log-file=LOG.%p")
        marker = text.decode(errors="replace")
        if b";" in text or not marker.isprintable() or "\ufffd" in marker or len(text) > MARKER_MOST:
            raise self._refuse(number, at, text, "STORE, FLUSH, FENCE, REGISTER_FILE, STOP, or a marker of one line")
        return Marker(marker)

    def _store(self, number: int, at: int, found: re.Match[bytes]) -> Store:
        value, size = int(found[2], 16), int(found[3], 16)
        if not 0 < size <= _STORED_MOST:
            raise self._refuse(number, at, found[0], f"a store of 1 to {_STORED_MOST} bytes")
        if value >> (size * 8):
            raise self._refuse(number, at, found[0], f"a value of {size} bytes")
        trace = found[4].decode(errors="replace") if found[4] else ""
        return Store(int(found[1], 16), value.to_bytes(size, "little"), trace)

    def _refuse(self, number: int, at: int, text: bytes, expected: str) -> UsageError:
        shown = text[:40].decode(errors="replace")
        return UsageError(f"{self.path}: record {number}, at byte {at}: {shown!r}: expected {expected}")


def place_of(trace: str) -> str:
    """Of a stack trace, frame by frame, where it is: ``log.c:42``, with more frames ``memcpy.c:7, from log.c:42``."""
    return ", from ".join(_frame(frame) for frame in trace.split(";") if frame)


def _frame(text: str) -> str:
    found = _FRAME.match(text)
    if found is None:
        return text
    function, within, where = found.groups()
    return f"{function} ({Path(where).name})" if within else where
