"""Record what becomes durable on a device: by this interpreter's mappings, and by programs on libpmem."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from daxemu._core import CrashStates, PmemLog, punch_hole
from daxemu.backing.store import BackingFile, copy_written
from daxemu.backing.tmpfs import TmpfsStore
from daxemu.errors import UsageError
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.pmem import format as fmt
from daxemu.pmem.collector import Collector
from daxemu.pmem.description import describe, make_directory, writing
from daxemu.pmem.domain import survivors
from daxemu.pmem.format import LINE_SIZE, SHADOW_OFFSET, STATE
from daxemu.pmem.modules import Sources, read_modules
from daxemu.pmem.points import Scan, scan_at
from daxemu.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daxemu.engine import Engine
    from daxemu.kernel.device import DevDax
    from daxemu.mapping import DaxMapping

__all__ = ["Recorder", "persistence_domain"]

_CHUNK = 1 << 20
_BEHIND_ALL = (1 << 64) - 1  # events
_KILLED = "the recorder was killed"
# In the session's directory, as ``record0.state``: programs find them there.
_STATE, _EVENTS, _MODULES = "state", "events", "modules"


def persistence_domain(device: DevDax) -> str:
    """``memory_controller`` (ADR: what is to survive must be flushed) or ``cpu_cache`` (eADR: all survives)."""
    hardware = device.region.hardware
    return hardware.persistence if isinstance(hardware, NdRegion) else "memory_controller"


class Recorder:
    """A recording under way. A context manager; made by ``DaxDevice.record``.

    ``late`` has a line about each program that maps the device and does not take part, as it is stopped, say: what
    it makes durable is not known to be.

    ``close`` completes it in its directory; what was stored and never flushed is then looked for, and added.
    """

    def __init__(self, engine: Engine, device: DevDax, directory: Path | None, scan: Scan) -> None:
        self.directory = directory
        self.command: Sequence[str] = ()  # what is recorded, and how it ended: for the recording's description
        self.status: int | None = None
        self._engine = engine
        self._device = device
        self._size = device.size
        self._threads = threading.local()
        self._sources = Sources()
        self._since = fmt.LOG_HEADER.size  # where in the log's file begins what is not in the base
        self._closed = False
        scanned, every = scan_at(scan)
        with ExitStack() as undo:
            if directory is not None:
                undo.enter_context(writing(directory))
                make_directory(directory)
                undo.callback(directory.rmdir)
            self._state = _in_memory("daxemu-recording", SHADOW_OFFSET + self._size, undo)
            self._events = _in_memory("daxemu-events", fmt.LOG_MOST, undo)
            self._modules = _nameless_file(directory, undo)
            begin = fmt.LOG_HEADER.size
            room = {"tail": begin, "collected": begin, "limit": fmt.LOG_MOST, "held_most": fmt.LOG_HELD}
            wanted = {"scan_at": scanned, "scan_every": every}
            os.pwrite(self._state, STATE.pack(**room, **wanted, device_size=self._size), 0)
            self.follow(device)
            copy_written(self._backing.bytes_fd, 0, self._state, SHADOW_OFFSET, self._size)
            self._base = _file("base", directory, undo)
            os.ftruncate(self._base, self._size)
            copy_written(self._state, SHADOW_OFFSET, self._base, 0, self._size)
            self._file = _file("log", directory, undo)
            self._log = PmemLog(self._state, self._events)
            self._links = self._link(undo)
            self.late = self._have_joined()
            self._described: tuple[object, ...] = ()
            if directory is not None:
                with suppress(OSError):  # there are file systems without locks; with it, the recorder is alive
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                undo.callback((directory / "meta.json").unlink, missing_ok=True)
                self._describe(directory, cut_short=_KILLED)
            self._collector = Collector(self._log, self._file, self._size, self._keep if directory else None)
            undo.pop_all()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def nr_events(self) -> int:
        """How many events are in the log by now; once it is closed, all."""
        return self._log.collected()[0]

    @property
    def _backing(self) -> BackingFile:
        assert isinstance(self._device.backing, BackingFile)
        return self._device.backing

    def _have_joined(self) -> list[str]:
        """Wait until programs that run already take part; return a line about each that does not.

        What they have made durable since the recording's base was copied nobody has recorded: it is durable.
        """
        session = self._engine._wiring.session
        assert session is not None
        late = session.have_joined(self._device)
        if session.mappers():
            self.observe()
            if self._log.held():
                self._log.persist(0, self._size, *self._actor)
        return late

    def _link(self, undo: ExitStack) -> list[Path]:
        """Have programs find it."""
        session = Path(self._engine.environ()["DAXEMU_SESSION"])
        taken = {other.number for other in self._engine._recorders.values()}
        self.number: int = min({*range(fmt.RECORDINGS_MOST)} - taken)
        links = []
        for name, fd in ((_MODULES, self._modules), (_EVENTS, self._events), (_STATE, self._state)):
            link = session / f"record{self.number}.{name}"
            link.symlink_to(f"/proc/{os.getpid()}/fd/{fd}")
            undo.callback(link.unlink, missing_ok=True)
            links.append(link)
        return links

    @property
    def _thread(self) -> int:
        if not hasattr(self._threads, "number"):
            self._threads.number = self._log.new_thread()
        number: int = self._threads.number
        return number

    @property
    def _actor(self) -> tuple[int, int]:
        """Who does this: the thread, and the line of Python that asked for it."""
        return self._thread, self._sources.site()

    @property
    def _memory(self) -> int:
        """A descriptor of the device's bytes; -1 if it is gone, or another."""
        backing = self._device.backing
        return backing.bytes_fd if isinstance(backing, BackingFile) and self._device.size == self._size else -1

    def _look_around(self, event: int, actor: tuple[int, int]) -> None:
        """An event of this type is next: find what was stored elsewhere and not flushed, if that is wanted."""
        self._log.scan(self._memory, event, *actor)

    @property
    def flushed(self) -> bool:
        """Has this thread flushed something since its last fence?"""
        return getattr(self._threads, "flushed", False)

    def flush(self, mapping: DaxMapping, offset: int, length: int, start: int) -> None:
        """Record that bytes of a mapping, which begins ``start`` bytes into the device, are flushed."""
        if not self._closed and length:
            actor = self._actor
            self._look(mapping, offset, length, start, actor)
            self._look_around(fmt.EVENT_FLUSH, actor)
            self._log.flush(start + offset, length, *actor)
            self._threads.flushed = True

    def persist(self, mapping: DaxMapping, offset: int, length: int, start: int) -> None:
        """Record ``flush`` and ``fence`` of one call."""
        if not self._closed:
            actor = self._actor
            self._look(mapping, offset, length, start, actor)
            self._look_around(fmt.EVENT_PERSIST, actor)
            self._log.persist(start + offset, length, *actor)
            self._threads.flushed = False

    def _look(self, mapping: DaxMapping, offset: int, length: int, start: int, actor: tuple[int, int]) -> None:
        first = offset // LINE_SIZE * LINE_SIZE
        end = -(-(offset + length) // LINE_SIZE) * LINE_SIZE
        for at in range(first, end, _CHUNK):
            self._log.observe(start + at, _stable(mapping, at, min(_CHUNK, end - at)), *actor)

    def fence(self) -> None:
        """Record a fence of this thread."""
        if not self._closed:
            actor = self._actor
            self._look_around(fmt.EVENT_FENCE, actor)
            self._log.fence(*actor)
            self._threads.flushed = False

    def marker(self, text: str) -> None:
        """Note a text at this place of the recording. EMSGSIZE: it has more than 65535 bytes."""
        if not self._closed:
            actor = self._actor
            self._look_around(fmt.EVENT_MARKER, actor)
            self._log.marker(text, *actor)

    def observe(self) -> None:
        """Record what lines hold that were stored and not flushed since: a cache may write them back any time."""
        if not self._closed:
            self._log.compare(self._memory, self._thread)

    def fail(self, policy: str | int) -> dict[int, bytes]:
        """What lines that are not safe hold after a power failure. UsageError: no such policy; part is not known."""
        choose = survivors(policy)
        self.observe()
        why, end = self._collector.catch_up()
        if why := why or self._missed():
            raise UsageError(f"what is durable is not known, as the recording lacks events: {why}; end it, begin anew")
        if end == self._since:
            return {}
        log = mmap.mmap(self._file, end, access=mmap.ACCESS_READ)
        image = mmap.mmap(self._base, self._size, access=mmap.ACCESS_COPY)
        states = CrashStates(image, memoryview(log)[self._since : end], False)
        states.advance(_BEHIND_ALL)
        pending = states.pending()
        states.choose(tuple(choose(len(versions)) for _, versions in pending))
        return {offset: image[offset : offset + LINE_SIZE] for offset, _ in pending}

    def resume(self) -> None:
        """Power is back: what the device holds is durable, and so recorded. If it has not come back this ends."""
        if not self._device.registered or self._device.size != self._size:
            self.close()
            return
        self.observe()
        self._log.persist(0, self._size, *self._actor)
        if self.directory is None and not self._collector.catch_up()[0]:  # nobody needs what was before
            os.ftruncate(self._base, 0)
            os.ftruncate(self._base, self._size)
            copy_written(self._memory, 0, self._base, 0, self._size)
            self._since = self._collector.forget()

    def follow(self, device: DevDax) -> None:
        """The device has come back as another object of the model, with its bytes in another file."""
        self._device = device
        for name, number in zip(("dev", "ino"), self._backing.identity, strict=True):
            os.pwrite(self._state, number.to_bytes(8, "little"), STATE.offset(name))

    def close(self) -> None:
        """End the recording. UsageError: the end of the log is missing, as there was no room for it."""
        if self._closed:
            return
        with self._engine._lock, ExitStack() as steps:
            if self.directory:
                steps.enter_context(writing(self.directory))
            for fd in (self._state, self._events, self._modules, self._base, self._file):
                steps.callback(os.close, fd)
            steps.callback(self._engine._recorders.pop, self._device, None)
            steps.callback(setattr, self, "_closed", True)
            for link in self._links:
                steps.callback(link.unlink, missing_ok=True)
            self.observe()
            why = self._collector.finish() or self._missed()
            punch_hole(self._state, SHADOW_OFFSET, self._size)  # programs keep the file
            self._complete(why)

    def _shared(self, name: str) -> int:
        """What programs tell."""
        return STATE.unpack(os.pread(self._state, STATE.size, 0))[name]

    def _missed(self) -> str:
        """Why a program could not be recorded; empty if each was."""
        missed = self._shared("missed")
        if not missed:
            return ""
        if missed == errno.EUSERS:
            return "a program that runs on has taken part in too many recordings; start it again"
        room = f"the {format_size(fmt.LOG_MOST)} of addresses that the log takes"
        return f"a program could not be recorded ({os.strerror(missed)}), let it have {room} (ulimit -v)"

    def _complete(self, incomplete: str) -> None:
        if self.directory is None:
            return
        self._describe(self.directory, cut_short=incomplete)
        if incomplete:
            raise UsageError(f"{self.directory} does not have all events: {incomplete}")

    def _keep(self) -> None:
        """Have what is in the directory be a recording, should this process be killed."""
        assert self.directory
        with suppress(OSError):  # the end tells
            self._describe(self.directory, cut_short=_KILLED)

    def _describe(self, directory: Path, cut_short: str) -> None:
        mechanisms, sources = self._mechanisms(), self._sources.modules()
        description = (self.command, mechanisms, len(sources), os.fstat(self._modules).st_size, cut_short)
        if description == self._described:
            return
        describe(
            directory,
            device=self._device.name,
            size=self._size,
            align=self._device.align,
            domain=persistence_domain(self._device),
            sources=["api", "preload", "scan", *mechanisms],
            command=self.command,
            status=self.status,
            modules=[*read_modules(self._modules), *sources],
            cut_short=cut_short,
        )
        self._described = description

    def _mechanisms(self) -> list[str]:
        """How lines that nobody flushed were found before the end."""
        ways = {
            fmt.SCANNED_PAGEMAP: "scan:pagemap",
            fmt.SCANNED_DIFF: "scan:diff",
            fmt.SCANNED_SELDOM: "scan:seldom",
        }
        scanned = self._shared("scanned")
        return [name for bit, name in ways.items() if scanned & bit]


def _in_memory(label: str, size: int, undo: ExitStack) -> int:
    fd = TmpfsStore().create(label, size)
    undo.callback(os.close, fd)
    return fd


def _nameless_file(directory: Path | None, undo: ExitStack) -> int:
    """A file that is gone when nobody uses it any more."""
    with tempfile.TemporaryFile(dir=directory) as file:
        fd = os.dup(file.fileno())
    undo.callback(os.close, fd)
    return fd


def _file(name: str, directory: Path | None, undo: ExitStack) -> int:
    if directory is None:
        return _nameless_file(None, undo)
    path = directory / name
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    undo.callback(path.unlink)
    undo.callback(os.close, fd)
    return fd


def _stable(mapping: DaxMapping, at: int, length: int) -> bytes:
    """A copy of memory as it was at one time, as far as two looks can tell."""
    data = mapping.read(at, length)
    for _ in range(100):
        again = mapping.read(at, length)
        if again == data:
            break
        data = again
    return data
