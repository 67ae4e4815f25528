"""The façade: boots the model, wires stores and sessions to it, and shuts all of it down."""

from __future__ import annotations

import atexit
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from daxemu._core import sync_mappings
from daxemu.backing import BackingFile, BackingStore
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
from daxemu.launch.start import popen, run
from daxemu.plugins import find_store
from daxemu.session.session import Session
from daxemu.units import format_size, parse_size

if TYPE_CHECKING:
    import subprocess

__all__ = ["DaxDevice", "DaxRegion", "Engine"]

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


class _Launcher:
    """What starts programs that see the devices: an engine, a region, a device."""

    @property
    def engine(self) -> Engine:
        raise NotImplementedError

    def run(self, args: Sequence[str | os.PathLike[str]], **kwargs: Any) -> subprocess.CompletedProcess[Any]:
        """``subprocess.run`` with the same arguments; the program sees every device of the engine.

        Raises UsageError for a program that daxemu cannot reach: static, setuid, another architecture.
        """
        return run(self.engine.environ(), args, **kwargs)

    def popen(self, args: Sequence[str | os.PathLike[str]], **kwargs: Any) -> subprocess.Popen[Any]:
        """``subprocess.Popen`` with the same arguments; the program sees every device of the engine.

        Raises UsageError for a program that daxemu cannot reach: static, setuid, another architecture.
        """
        return popen(self.engine.environ(), args, **kwargs)


class DaxDevice(_Launcher):
    """An emulated dax device. Made by ``DaxRegion.create_device``, or with its static region."""

    def __init__(self, region: DaxRegion, device: DevDax) -> None:
        self.region = region
        self._device = device

    def __repr__(self) -> str:
        return f"<DaxDevice {self.name} {format_size(self.size)}>"

    def __fspath__(self) -> str:
        return self.path

    @property
    def engine(self) -> Engine:
        """The engine it belongs to."""
        return self.region.engine

    @property
    def name(self) -> str:
        """``daxX.Y``."""
        return self._device.name

    @property
    def path(self) -> str:
        """Where programs find it: ``/dev/daxX.Y``."""
        return f"/dev/{self.name}"

    @property
    def size(self) -> int:
        """Bytes."""
        return self._device.size

    @property
    def align(self) -> int:
        """Bytes: the unit of mappings."""
        return self._device.align

    @property
    def devt(self) -> tuple[int, int]:
        """Device number: (major, minor)."""
        return self._device.devt

    @property
    def alive(self) -> bool:
        """False after ``kill`` until ``revive``, and once it is destroyed."""
        return self._device.alive

    def open(self, mode: str = "r+") -> DaxFile:
        """Open the device: ``r`` for reading, ``r+`` for both. Raises ENXIO if it is dead."""
        return DaxFile(self.engine, self._device, mode)

    def resize(self, size: int | str) -> None:
        """Change the size; bytes, or a text such as ``"64M"``.

        As an administrator would: take the device from its driver, write ``size``, give it back.
        Every mapping is revoked; what lies inside the new size works again afterwards, what lies
        past it raises SIGBUS. EACCES: a static region. EINVAL: not a multiple of max(align, 2 MiB).
        ENOSPC: the region has not that much left. On failure everything is as before.
        """
        with self.engine._operation():
            if self._device.region.is_static:
                raise KernelError(
                    errno.EACCES, f"{self.name} is in a static region; resizable devices have provider 'hmem'"
                )
            self.engine._resize(self._device, parse_size(size))

    def kill(self) -> None:
        """Revoke every mapping of every process (the kernel's kill_dax and unmap).

        Later touches raise SIGBUS at the exact address, open and mmap answer ENXIO. The data stays.
        """
        with self.engine._operation():
            self._device.kill()

    def revive(self) -> None:
        """Make a killed device work again (run_dax): old files and mappings too, with the data intact."""
        with self.engine._operation():
            self._device.run()

    def destroy(self) -> None:
        """Remove the device, as ``daxctl destroy-device --force`` does: revoke, size 0, delete.

        The first device of a dynamic region stays, with size 0. EACCES: a static region.
        """
        with self.engine._operation() as core:
            if self._device.region.is_static:
                raise KernelError(errno.EACCES, f"{self.name} is in a static region: it goes with its region")
            if self._device.driver is not None:
                core.bus.unbind(self._device)
            self._device.resize(0)
            if self._device.id:
                core.delete_device(self._device)


class DaxRegion(_Launcher):
    """A range of emulated physical memory and the devices in it. Made by ``Engine.add_region``."""

    def __init__(self, engine: Engine, region: KernelRegion) -> None:
        self._engine = engine
        self._region = region
        self._facades: dict[DevDax, DaxDevice] = {}

    def __repr__(self) -> str:
        return f"<DaxRegion {self.id} {self.provider} {format_size(self.size)}>"

    @property
    def engine(self) -> Engine:
        """The engine it belongs to."""
        return self._engine

    @property
    def id(self) -> int:
        """X of its devices' names daxX.Y."""
        return self._region.id

    @property
    def provider(self) -> str:
        """``pmem`` or ``hmem``."""
        return self._region.provider.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self._region.size

    @property
    def align(self) -> int:
        """Bytes: the alignment that its devices start with."""
        return self._region.align

    @property
    def available_size(self) -> int:
        """Bytes that no device owns."""
        return self._region.available_size()

    @property
    def devices(self) -> list[DaxDevice]:
        """Its devices that have a size, by id."""
        return [self._facade(device) for device in self._region.children.values() if device.size]

    def _facade(self, device: DevDax) -> DaxDevice:
        return self._facades.setdefault(device, DaxDevice(self, device))

    def create_device(self, size: int | str | None = None) -> DaxDevice:
        """Make a device, ready to use; by default of all that is available.

        The region's first device, daxX.0, exists from the start and is taken while it is empty.
        EINVAL: not a multiple of max(align, 2 MiB), or 0, or a static region. ENOSPC: no room, or no
        device number left.
        """
        with self._engine._operation() as core:
            if self._region.is_static:
                raise KernelError(
                    errno.EINVAL,
                    f"region {self.id} is static (provider {self.provider!r}): it has its one device in "
                    "region.devices; use provider 'hmem' to create devices",
                )
            wanted = self.available_size if size is None else parse_size(size)
            if wanted == 0:
                reason = "has no space left" if size is None else "cannot make a device of size 0"
                raise KernelError(errno.ENOSPC if size is None else errno.EINVAL, f"region {self.id} {reason}")
            first = next((d for d in self._region.children.values() if d.id == 0), None)
            if first is not None and first.size == 0 and first.driver is None:
                self._engine._resize(first, wanted)
                return self._facade(first)
            return self._facade(core.create_device(self._region, wanted))

    def remove(self) -> None:
        """Remove the region with its devices, as when the hardware is taken away."""
        with self._engine._operation() as core:
            core.remove_region(self._region)


class Engine(_Launcher):
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
