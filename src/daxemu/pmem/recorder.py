"""Record what becomes durable on a device: by this interpreter's mappings, and by programs on libpmem."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from daxemu._core import PmemLog
from daxemu.backing.store import BackingFile, copy_written
from daxemu.errors import UsageError
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.pmem import format as fmt
from daxemu.pmem.domain import Domain, events_of, survivors
from daxemu.pmem.format import LINE_SIZE, SHADOW_OFFSET, STATE
from daxemu.pmem.modules import read_modules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daxemu.engine import Engine
    from daxemu.kernel.device import DevDax
    from daxemu.mapping import DaxMapping

__all__ = ["Recorder", "persistence_domain"]

_CHUNK = 1 << 20
# Names in the session's directory: programs that start while these are there take part.
_STATE, _EVENTS, _MODULES = "record.state", "record.events", "record.modules"


def persistence_domain(device: DevDax) -> str:
    """``memory_controller`` (ADR: what is to survive must be flushed) or ``cpu_cache`` (eADR: all survives)."""
    hardware = device.region.hardware
    return hardware.persistence if isinstance(hardware, NdRegion) else "memory_controller"


class Recorder:
    """A recording under way. A context manager; made by ``DaxDevice.record``.

    ``close`` completes it in its directory; what was stored and never flushed is then looked for, and added.
    """

    def __init__(self, engine: Engine, device: DevDax, directory: Path | None) -> None:
        self.directory = directory
        self.command: Sequence[str] = ()  # what is recorded, and how it ended: for the recording's description
        self.status: int | None = None
        self._engine = engine
        self._device = device
        self._size = device.size
        self._threads = threading.local()
        self._closed = False
        with ExitStack() as undo:
            if directory is not None:
                _make_directory(directory)
                undo.callback(directory.rmdir)
            self._state = os.memfd_create("daxemu recording")
            undo.callback(os.close, self._state)
            os.ftruncate(self._state, SHADOW_OFFSET + self._size)
            self._events = _nameless_file(directory, undo)
            os.ftruncate(self._events, fmt.LOG_MOST)
            self._modules = _nameless_file(directory, undo)
            dev, ino = self._backing.identity
            state = STATE.pack(tail=fmt.LOG_HEADER.size, device_size=self._size, dev=dev, ino=ino)
            os.pwrite(self._state, state, 0)
            copy_written(self._backing.bytes_fd, 0, self._state, SHADOW_OFFSET, self._size)
            self._base = _nameless_file(None, undo) if directory is None else _new_file(directory / "base", undo)
            os.ftruncate(self._base, self._size)
            copy_written(self._state, SHADOW_OFFSET, self._base, 0, self._size)
            self._log = PmemLog(self._state, self._events)
            self._links = self._link(undo)
            undo.pop_all()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _backing(self) -> BackingFile:
        assert isinstance(self._device.backing, BackingFile)
        return self._device.backing

    def _link(self, undo: ExitStack) -> list[Path]:
        """Have programs find it: those that the session starts, from now on."""
        session = Path(self._engine.environ()["DAXEMU_SESSION"])
        links = []
        for name, fd in ((_MODULES, self._modules), (_EVENTS, self._events), (_STATE, self._state)):
            link = session / name
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

    def flush(self, mapping: DaxMapping, offset: int, length: int, start: int) -> None:
        """Record that bytes of a mapping, which begins ``start`` bytes into the device, are flushed."""
        if not self._closed and length:
            self._look(mapping, offset, length, start)
            self._log.flush(start + offset, length, self._thread)

    def persist(self, mapping: DaxMapping, offset: int, length: int, start: int) -> None:
        """Record ``flush`` and ``fence`` of one call."""
        if not self._closed:
            self._look(mapping, offset, length, start)
            self._log.persist(start + offset, length, self._thread)

    def _look(self, mapping: DaxMapping, offset: int, length: int, start: int) -> None:
        first = offset // LINE_SIZE * LINE_SIZE
        end = -(-(offset + length) // LINE_SIZE) * LINE_SIZE
        for at in range(first, end, _CHUNK):
            self._log.observe(start + at, _stable(mapping, at, min(_CHUNK, end - at)), self._thread)

    def fence(self) -> None:
        """Record a fence of this thread."""
        if not self._closed:
            self._log.fence(self._thread)

    def marker(self, text: str) -> None:
        """Note a text at this place of the recording. EMSGSIZE: it has more than 65535 bytes."""
        if not self._closed:
            self._log.marker(text, self._thread)

    def observe(self) -> None:
        """Record what lines hold that were stored and not flushed since: a cache may write them back any time."""
        if self._closed:
            return
        fd, at = self._backing.bytes_fd, 0
        while at < self._size:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:  # no data behind this
                break
            hole = min(-(-os.lseek(fd, at, os.SEEK_HOLE) // LINE_SIZE) * LINE_SIZE, self._size)
            at = at // LINE_SIZE * LINE_SIZE
            while at < hole:
                data = os.pread(fd, min(_CHUNK, hole - at), at)
                if not data:
                    return
                self._log.observe(at, data, self._thread)
                at += len(data)

    def fail(self, policy: str | int) -> dict[int, bytes]:
        """What lines that are not safe hold after a power failure. UsageError: no such policy; part is not known."""
        choose = survivors(policy)
        self.observe()
        if self._stopped == fmt.STOPPED_FULL:
            raise UsageError("there was no room for all events of the recording; what is durable is not known")
        domain = Domain()
        with tempfile.TemporaryFile() as file:
            self._log.finish(file.fileno())
            file.seek(0)
            for event in events_of(file.read()):
                domain.apply(event)
        chosen = {offset: choose(copies) for offset, copies in domain.pending().items()}
        return {
            offset: os.pread(self._base, LINE_SIZE, offset) if data is None else data for offset, data in chosen.items()
        }

    def close(self) -> None:
        """End the recording. ENOSPC: there is no room for the log. UsageError: its end is missing for that reason."""
        if self._closed:
            return
        with self._engine._lock, ExitStack() as steps:
            for fd in (self._state, self._events, self._modules, self._base):
                steps.callback(os.close, fd)
            steps.callback(self._engine._recorders.pop, self._device, None)
            steps.callback(setattr, self, "_closed", True)
            for link in self._links:
                steps.callback(link.unlink, missing_ok=True)
            with suppress(ValueError):
                self.observe()
            self._stop()
            self._complete()

    @property
    def _stopped(self) -> int:
        return STATE.unpack(os.pread(self._state, STATE.size, 0))["stopped"]

    def _stop(self) -> None:
        """Programs that go on write no more events."""
        if not self._stopped:
            os.pwrite(self._state, fmt.STOPPED_CLOSED.to_bytes(4, "little"), STATE.offset("stopped"))

    def _complete(self) -> None:
        if self.directory is None:
            return
        with (self.directory / "log").open("wb") as log:
            self._log.finish(log.fileno())
        description = self._description()
        (self.directory / "meta.json").write_text(json.dumps(description, indent=1) + "\n")
        if self._stopped == fmt.STOPPED_FULL:
            raise UsageError(f"{self.directory}: there was no room for all events; what was recorded before is there")

    def _description(self) -> dict[str, Any]:
        return {
            "version": fmt.LOG_VERSION,
            "device": self._device.name,
            "size": self._size,
            "align": self._device.align,
            "domain": persistence_domain(self._device),
            "command": [*self.command],
            "status": self.status,
            "sources": ["api", "preload", "scan"],
            "modules": read_modules(self._modules),
        }


def _nameless_file(directory: Path | None, undo: ExitStack) -> int:
    """A file that is gone when nobody uses it any more."""
    with tempfile.TemporaryFile(dir=directory) as file:
        fd = os.dup(file.fileno())
    undo.callback(os.close, fd)
    return fd


def _new_file(path: Path, undo: ExitStack) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    undo.callback(path.unlink)
    undo.callback(os.close, fd)
    return fd


def _make_directory(path: Path) -> None:
    try:
        path.mkdir()
    except FileExistsError:
        raise UsageError(f"{path} exists; name a new directory for the recording") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; the recording is a new directory in one that is there") from None


def _stable(mapping: DaxMapping, at: int, length: int) -> bytes:
    """A copy of memory as it was at one time, as far as two looks can tell."""
    data = mapping.read(at, length)
    for _ in range(100):
        again = mapping.read(at, length)
        if again == data:
            break
        data = again
    return data
