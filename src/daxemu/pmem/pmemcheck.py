"""What pmemcheck has logged of a program's stores made into a recording."""

from __future__ import annotations

import mmap
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from daxemu.backing.store import copy_written
from daxemu.errors import UsageError
from daxemu.pmem.description import describe, make_directory
from daxemu.pmem.format import LINE_SIZE
from daxemu.pmem.pmemcheck_log import Fence, Flush, Mapping, Marker, Record, Store, StoreLog, place_of
from daxemu.pmem.writer import LogWriter

__all__ = ["Imported", "import_log"]

_ALIGNMENTS = (2 << 20, 4096)
_FILE_MOST = 1 << 46  # more than a machine addresses
_FLUSHED_AT_ONCE = 1 << 30
_MAP_NORESERVE = 0x4000


@dataclass
class Imported:
    """What an imported recording has, and what of the log was left out of it, as it concerns another memory.

    ``elsewhere`` are stores to files that were registered but not chosen, ``nowhere`` those to none at all.
    """

    file: str
    size: int
    stores: int = 0
    flushes: int = 0
    fences: int = 0
    markers: int = 0
    elsewhere: int = 0
    nowhere: int = 0


def import_log(
    log: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    file: str | None = None,
    base: str | os.PathLike[str] | None = None,
) -> Imported:
    """Make a recording in ``directory``, which is new, of what ``valgrind --tool=pmemcheck --log-stores=yes`` logged.

    ``file`` says which of several registered files it is of, by its path or its name; ``base`` is a file with what
    that one held before, by default zeros. UsageError: the log is none, or damaged, or it is not clear which file;
    then there is no directory.
    """
    source, target = Path(log), Path(directory)
    with StoreLog(source) as reader, ExitStack() as undo:
        mappings = reader.mappings()
        path = _choose(source, [mapping.path for mapping in mappings], file)
        end = max(mapping.offset + mapping.end - mapping.start for mapping in mappings if mapping.path == path)
        make_directory(target)
        undo.callback(shutil.rmtree, target, ignore_errors=True)
        try:
            result = _write(reader, Imported(path, end), target, None if base is None else Path(base))
        except OSError as error:
            raise UsageError(f"{error.filename or target}: {error.strerror}") from None
        if not result.stores:
            raise UsageError(f"{source}: it has no store to {path}, so there is nothing that a power failure may take")
        undo.pop_all()
    return result


def _choose(log: Path, registered: list[str], wanted: str | None) -> str:
    paths = list(dict.fromkeys(registered))
    if not paths:
        raise UsageError(
            f"{log}: no file is registered in it, so addresses mean nothing; libpmem registers what it maps by "
            "itself, others say VALGRIND_PMC_REGISTER_PMEM_FILE"
        )
    found = paths if wanted is None else [path for path in paths if wanted in (path, Path(path).name)]
    if len(found) == 1:
        return found[0]
    if wanted is None or found:
        raise UsageError(f"{log}: several files are in it; say which one by --file: {', '.join(found)}")
    raise UsageError(f"{log}: no file {wanted!r} is in it; there are: {', '.join(paths)}")


def _write(reader: StoreLog, result: Imported, directory: Path, before: Path | None) -> Imported:
    if before is not None:
        if before.exists() and not before.is_file():
            raise UsageError(f"{before} is no regular file; the base is a copy of what the file held before")
        result.size = max(result.size, before.stat().st_size)
    align = next((align for align in _ALIGNMENTS if result.size % align == 0), _ALIGNMENTS[-1])
    result.size = -(-result.size // align) * align
    if result.size > _FILE_MOST:
        raise UsageError(f"{reader.path}: {result.file} has {result.size} bytes there, more than a machine addresses")
    with (directory / "base").open("w+b") as base:
        base.truncate(result.size)
        if before is not None:
            with before.open("rb") as held:
                copy_written(held.fileno(), 0, base.fileno(), 0, result.size)
        flags, protection = mmap.MAP_PRIVATE | _MAP_NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        memory = mmap.mmap(base.fileno(), result.size, flags=flags, prot=protection)
    with memory, LogWriter(directory / "log", result.size) as writer:
        program = _Program(writer, memory, result)
        for record in reader.records():
            program.follow(record)
    describe(
        directory,
        device=result.file,
        size=result.size,
        align=align,
        domain="memory_controller",
        sources=["pmemcheck"],
        command=reader.command(),
        sites=program.sites,
    )
    return result


class _Program:
    """What the recorded program does, told to the writer of a recording, as far as it is about one file."""

    def __init__(self, writer: LogWriter, memory: mmap.mmap, result: Imported) -> None:
        self._writer = writer
        self._memory = memory  # as the program sees it: all that was stored so far
        self.result = result
        self._mappings: list[Mapping] = []  # the newest first
        self._sites: dict[str, int] = {}

    @property
    def sites(self) -> list[str]:
        """Names of the places that have stored; their sites are numbers from 1."""
        return [place_of(trace) for trace in self._sites]

    def follow(self, record: Record) -> None:
        """Take the next record."""
        match record:
            case Store(start, data, trace):
                self._store(start, data, trace)
            case Flush(start, end):
                parts = [part for part in self._find(start, end) if part.path == self.result.file]
                self.result.flushes += bool(parts)
                for part in parts:
                    for at in range(part.start, part.end, _FLUSHED_AT_ONCE):
                        self._writer.flush(part.offset + at - part.start, min(_FLUSHED_AT_ONCE, part.end - at))
            case Fence():
                self.result.fences += 1
                self._writer.fence()
            case Marker(text):
                self.result.markers += 1
                self._writer.marker(text)
            case Mapping():
                hidden = [old for old in self._mappings if record.start <= old.start and old.end <= record.end]
                self._mappings = [record, *(old for old in self._mappings if old not in hidden)]

    def _find(self, start: int, end: int) -> list[Mapping]:
        """What is mapped in this range of addresses, in order. What was mapped last is there."""
        newest = self._mappings[0] if self._mappings else None
        if newest is not None and newest.start <= start < end <= newest.end:
            return [Mapping(newest.path, start, end, newest.offset + start - newest.start)]
        found, rest = list[Mapping](), [(start, end)]
        for mapping in self._mappings:
            left = []
            for first, last in rest:
                begin, stop = max(first, mapping.start), min(last, mapping.end)
                if begin < stop:
                    found.append(mapping._replace(start=begin, end=stop, offset=mapping.offset + begin - mapping.start))
                    left += [(a, b) for a, b in ((first, begin), (stop, last)) if a < b]
                else:
                    left.append((first, last))
            rest = left
            if not rest:
                break
        return sorted(found, key=lambda part: part.start)

    def _store(self, start: int, data: bytes, trace: str) -> None:
        everywhere = self._find(start, start + len(data))
        parts = [part for part in everywhere if part.path == self.result.file]
        self.result.stores += bool(parts)
        self.result.elsewhere += not parts and bool(everywhere)
        self.result.nowhere += not everywhere
        site = self._sites.setdefault(trace, len(self._sites) + 1) if trace and parts else 0
        for part in parts:
            first, end = part.offset, part.offset + part.end - part.start
            self._memory[first:end] = data[part.start - start : part.end - start]
            for at in range(first // LINE_SIZE * LINE_SIZE, end, LINE_SIZE):
                self._writer.store(at, self._memory[at : at + LINE_SIZE], site=site)
