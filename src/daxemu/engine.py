"""The façade: boots the model, wires stores and sessions to it, and shuts all of it down."""

from __future__ import annotations

import atexit
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from daxemu._core import sync_mappings
from daxemu.backing import BackingFile, BackingStore
from daxemu.device import DaxDevice
from daxemu.errors import KernelError, UsageError
from daxemu.file import DaxFile
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.file import File, dax_open
from daxemu.kernel.ids import MINORMASK
from daxemu.kernel.ports import Backing, Event
from daxemu.kernel.providers import find_provider
from daxemu.kernel.pseudofs import NodeInode
from daxemu.kernel.region import ALIGNMENTS
from daxemu.kernel.region import DaxRegion as KernelRegion
from daxemu.launch.start import Launcher
from daxemu.plugins import find_store
from daxemu.region import DaxRegion
from daxemu.session.session import Session
from daxemu.units import format_size, parse_size

__all__ = ["Engine"]

_PHYSICAL_BASE = 1 << 44  # above all memory a machine has
_REGION_SPACING = 1 << 30


def _free_major() -> int:
    """A character major that no driver of this machine has, highest first as the kernel hands them out.

    A node made by a real mknod(2) must never lead to a real device.
    """
    lines = Path("/proc/devices").read_text().partition("Block devices:")[0].splitlines()
    taken = {int(line.split()[0]) for line in lines if line.strip()[:1].isdigit()}
    free: list[int] = [major for major in (*range(254, 233, -1), *range(511, 383, -1)) if major not in taken]
    return free[0]


class Engine(Launcher):
    """One emulated machine. A context manager; ``close`` leaves nothing behind.

    ``nr_dax`` is how many device numbers there are, at least 256.
    """

    def __init__(self, *, nr_dax: int = MINORMASK + 1) -> None:
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._closed = False
        self._pid = os.getpid()
        self._next_start = _PHYSICAL_BASE
        self._stores: dict[int, BackingStore] = {}  # by the region's start
        self._files: set[DaxFile] = set()
        self._regions: dict[KernelRegion, DaxRegion] = {}
        self._core = DaxCore(self, major=_free_major(), nr_dax=nr_dax)
        self._core.boot()
        atexit.register(self.close)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def engine(self) -> Engine:
        """Itself: what starts programs asks for it."""
        return self

    @property
    def regions(self) -> list[DaxRegion]:
        """All regions by id."""
        return [self._regions[region] for region in self._core.regions.values()]

    @property
    def devices(self) -> list[DaxDevice]:
        """All devices of all regions."""
        return [device for region in self.regions for device in region.devices]

    def add_region(
        self,
        size: int | str,
        *,
        provider: str = "pmem",
        align: int | str = "2M",
        backend: str = "tmpfs",
    ) -> DaxRegion:
        """Add a region of ``size`` bytes that its devices have for themselves.

        A ``pmem`` region is static: it comes with its one device. An ``hmem`` region starts empty:
        ``create_device`` makes devices in it. UsageError: unknown provider or backend, a backend
        that does not work here, an alignment other than 4K, 2M, 1G, a size that is not a multiple
        of it. ENOMEM: no memory for it.
        """
        found = find_provider(provider)
        store = find_store(backend)()
        length, alignment = parse_size(size), parse_size(align)
        if alignment not in ALIGNMENTS:
            raise UsageError(f"alignment {align!r}: a device is aligned to {', '.join(map(format_size, ALIGNMENTS))}")
        if length == 0 or length % alignment:
            unit = format_size(alignment)
            raise UsageError(f"size {size!r} is not a multiple of the alignment {unit}; give a size such as {unit!r}")
        with self._operation() as core:
            start = self._next_start
            self._stores[start] = store
            try:
                region = core.add_region(found, start=start, size=length, align=alignment, idle=not found.static)
            except BaseException:
                del self._stores[start]
                raise
            self._next_start = (start + length + _REGION_SPACING) // _REGION_SPACING * _REGION_SPACING
            self._regions[region] = DaxRegion(self, region)
            return self._regions[region]

    def environ(self) -> dict[str, str]:
        """Variables that make a program see the devices. The first call opens the session for them."""
        with self._operation() as core:
            if self._session is None:
                session = Session(major=core.major)
                try:
                    session.show_bus(core.bus)
                    for region in core.regions.values():
                        session.show_region(region)
                    for device in core.bus.devices.values():
                        session.show_device(device)
                except BaseException:
                    session.close()
                    raise
                self._session = session
            return self._session.environ()

    def close(self) -> None:
        """Shut the machine down: devices are revoked, memory is freed, the session is removed."""
        if os.getpid() != self._pid:  # a forked child's copy: nothing of it is the child's to remove
            return
        with self._lock:
            if self._closed:
                return
            with ExitStack() as steps:
                steps.callback(atexit.unregister, self.close)
                steps.callback(setattr, self, "_closed", True)
                if self._session is not None:
                    steps.callback(self._session.close)
                steps.callback(self._core.shutdown)
                for file in tuple(self._files):
                    steps.callback(file.close)

    @contextmanager
    def _operation(self) -> Iterator[DaxCore]:
        """One change at a time, on an engine that is open."""
        with self._lock:
            if self._closed:
                raise UsageError("the engine is closed")
            yield self._core

    def _resize(self, device: DevDax, size: int) -> None:
        """Resize as an administrator does: unbound; bound again whatever happens."""
        try:
            if device.driver is not None:
                self._core.bus.unbind(device)
            device.resize(size)
        finally:
            if device.size:
                self._core.bus.bind(device)

    def _open(self, device: DevDax) -> File:
        with self._operation() as core:
            return dax_open(core, NodeInode(device.devt))

    # -- the model's way out (kernel.ports.Ports) ---------------------------------------------

    def create_backing(self, device: DevDax) -> Backing:
        """Memory for a device, from its region's store."""
        store = self._stores[device.region.start]
        try:
            backing = BackingFile(store.create(device.name, device.size), store)
        except OSError as error:
            raise KernelError(error.errno or errno.ENOMEM, f"backend {store.name!r}: {error.strerror}") from error
        device.inode.i_mapping.i_mmap.append(_Processes(self, device))
        return backing

    def publish(self, event: Event) -> None:
        """Project a change to the session, if there is one."""
        subject = event.subject
        if isinstance(subject, DevDax):
            if self._session is not None:
                self._session.show_device(subject)
            if event.action == "revive":
                self._synchronise(subject)
        elif self._session is not None:
            self._session.show_region(subject)
        if event.action == "remove" and isinstance(subject, KernelRegion):
            self._regions.pop(subject, None)

    def _synchronise(self, device: DevDax) -> None:
        """Bring every mapping of every process in line with whether the device is alive."""
        backing = device.backing
        assert isinstance(backing, BackingFile)
        if any(file.maps(device) for file in self._files):
            sync_mappings(*backing.identity, device.alive)
        if self._session is not None:
            self._session.synchronise(device)


class _Processes:
    """All processes that map a device, as one mapper of its address space."""

    def __init__(self, engine: Engine, device: DevDax) -> None:
        self._engine = engine
        self._device = device

    def unmap(self, first: int, last: int) -> None:  # noqa: ARG002
        """Revoke. The range is not looked at: a shrink has cut the file, all else revokes the whole."""
        self._engine._synchronise(self._device)
