"""The façade: boots the model, wires stores and sessions to it, and shuts all of it down."""

from __future__ import annotations

import atexit
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from daxemu.backing.memory import RegionMemory
from daxemu.clients import ClientNews
from daxemu.device import DaxDevice
from daxemu.errors import KernelError, UsageError
from daxemu.faults import Faults
from daxemu.kernel.core import DEVICE_DAX, DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.drivers import DRIVERS
from daxemu.kernel.file import File, dax_open
from daxemu.kernel.flavour import DEFAULT_FLAVOUR, find_flavour
from daxemu.kernel.ids import MINORMASK
from daxemu.kernel.nvdimm.bus import NvdimmBus
from daxemu.kernel.nvdimm.commands import command
from daxemu.kernel.nvdimm.infoblock import Layout, lay_out, raw_size_for
from daxemu.kernel.nvdimm.region import PERSISTENCE_DOMAINS, NdRegion
from daxemu.kernel.providers import Provider, find_provider
from daxemu.kernel.pseudofs import NodeInode
from daxemu.kernel.region import ALIGNMENTS
from daxemu.kernel.region import DaxRegion as KernelRegion
from daxemu.kmsg import Kmsg
from daxemu.launch.start import Launcher
from daxemu.plugins import call_hook
from daxemu.plugins import find_store as find_backend
from daxemu.plugins import hooks as load_hooks
from daxemu.region import DaxRegion
from daxemu.session.server import Handlers
from daxemu.units import format_size, parse_size
from daxemu.wiring import Wiring

if TYPE_CHECKING:
    from daxemu.monitor import Monitor
    from daxemu.pmem.recorder import Recorder
    from daxemu.region import Plug
    from daxemu.state.machine import MachineState

__all__ = ["Engine"]

_PHYSICAL_BASE = 1 << 44  # above all memory a machine has
_REGION_SPACING = 1 << 30
_MAX_NUMNODES = 1024


def _free_majors() -> list[int]:
    """Character majors that no driver of this machine has, highest first as the kernel hands them out.

    A node made by a real mknod(2) must never lead to a real device.
    """
    lines = Path("/proc/devices").read_text().partition("Block devices:")[0].splitlines()
    taken = {int(line.split()[0]) for line in lines if line.strip()[:1].isdigit()}
    return [major for major in (*range(254, 233, -1), *range(511, 383, -1)) if major not in taken]


def _given(provider: Provider, size: int | str | None, raw: int | str | None) -> int | str:
    """The one of both that is given."""
    if size is not None and raw is not None:
        raise UsageError(f"size {size!r} and raw {raw!r} exclude each other; give what the device is to have as size")
    if raw is not None:
        if not provider.static:
            raise UsageError(f"raw {raw!r}: only regions of provider 'pmem' have namespaces; give size")
        return raw
    if size is None:
        raise UsageError("a region needs a size: bytes as an int, or a text such as '64M'")
    return size


def _parse_node(node: int | str, what: str) -> int:
    """A NUMA node's number."""
    with suppress(ValueError):
        if -1 <= int(node) < _MAX_NUMNODES:
            return int(node)
    raise UsageError(f"{what} {node!r}: give the number of a NUMA node, 0 to {_MAX_NUMNODES - 1}, or -1 for none")


class Engine(Launcher):
    """One emulated machine. A context manager; ``close`` leaves nothing behind.

    ``kernel`` is the version whose behaviour it shows, ``drivers`` which dax drivers are loaded,
    ``nr_dax`` how many device numbers there are, at least 256; ``session`` the name under which other
    programs of this user find it, by default one that nobody has. With ``state``, a directory, regions,
    devices and what they hold are there again when an engine is made with it the next time, however
    this one ends; a state that is there says which kernel and drivers. UsageError: no such kernel or
    driver; a state that is in use, or that cannot be read.
    """

    def __init__(
        self,
        *,
        kernel: str = DEFAULT_FLAVOUR.name,
        drivers: Sequence[str] = tuple(DRIVERS),
        nr_dax: int = MINORMASK + 1,
        session: str | None = None,
        state: str | os.PathLike[str] | None = None,
    ) -> None:
        load_hooks()  # what is wrong with a plugin is said now, not in the middle of something
        self._state: MachineState | None = None
        if state is not None:
            from daxemu.state.machine import MachineState

            self._state = MachineState(state)
            kernel, drivers = self._state.kernel or kernel, self._state.drivers or drivers
        try:
            flavour = find_flavour(kernel)
            for driver in drivers:
                if driver not in DRIVERS:
                    raise UsageError(f"unknown driver {driver!r}; there are: {', '.join(DRIVERS)}")
        except UsageError:
            if self._state is not None:
                self._state.close()
            raise
        self._session_name = session
        self._lock = threading.RLock()
        self._closed = False
        self._pid = os.getpid()
        self._next_start = _PHYSICAL_BASE
        self._regions: dict[KernelRegion | NdRegion, DaxRegion] = {}
        self._recorders: dict[DevDax, Recorder] = {}
        self._wiring = Wiring()
        self._clients = ClientNews(self)
        self._core = DaxCore(self._wiring, major=_free_majors()[0], nr_dax=nr_dax, flavour=flavour, drivers=drivers)
        self._core.boot()
        atexit.register(self.close)
        if self._state is not None:
            self._restore(self._state)

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
        found: dict[int, KernelRegion | NdRegion] = {**self._core.regions}
        if self._core.nvdimm is not None:
            found |= self._core.nvdimm.regions
        return [self._facade(found[number]) for number in sorted(found)]

    def _find_region(self, number: int) -> DaxRegion:
        """A region, also one that is unplugged. UsageError: there is none of that number."""
        found = [region for region in self._regions.values() if region.id == number]
        for region in sorted(found, key=lambda region: (not region._hardware.published, not region.unplugged)):
            return region
        raise UsageError(f"no region {number}; there are: {', '.join(str(r.id) for r in self.regions) or 'none'}")

    def _find_device(self, name: str) -> DaxDevice:
        """A device, also one that is unplugged. UsageError: there is none of that name."""
        name = name.removeprefix("/dev/")
        for device in self.devices:
            if device.name == name:
                return device
        for region in self._regions.values():
            for device in region._facades.values():
                if device.name == name and device.unplugged:
                    return device
        raise UsageError(f"no device {name!r}; there are: {', '.join(d.name for d in self.devices) or 'none'}")

    def _facade(self, region: KernelRegion | NdRegion) -> DaxRegion:
        return self._regions.setdefault(region, DaxRegion(self, region))

    def _replace(self, region: KernelRegion | NdRegion, facade: DaxRegion) -> None:
        """A region has come back as another object of the model."""
        del self._regions[region]
        self._regions[facade._hardware] = facade

    @property
    def devices(self) -> list[DaxDevice]:
        """All devices of all regions."""
        return [device for region in self.regions for device in region.devices]

    @property
    def kmsg(self) -> Kmsg:
        """What the emulated kernel logs, as dmesg would show it."""
        return self._wiring.kmsg

    @property
    def faults(self) -> Faults:
        """What is to fail, or to take long."""
        return self._wiring.faults

    def reboot(self, policy: str | int = "none") -> int:
        """Power goes and comes back: each device as after ``DaxDevice.power_fail``, each region as at boot.

        Devices that are not recorded keep all that was stored. Devices of a dynamic region are made
        again as when it was added: one over all of it, or none; a recording of one that is not there again
        ends. Return how many lines have lost something. Raises what ``power_fail`` does.
        """
        from daxemu.pmem.domain import survivors

        with self._operation():
            survivors(policy)  # it must be one
            with ExitStack() as undo:
                left = {
                    device: device._cut_power(policy if device._recorder is not None else "all", undo)
                    for device in self.devices
                }
                undo.pop_all()
            lost = sum(device._lose(lines) for device, lines in left.items())
            for region in self.regions:
                region.unplug()
                region.replug()
            for recorder in tuple(self._recorders.values()):
                recorder.resume()
            back = self.devices
        for device in back:
            call_hook("daxemu_power_failed", device=device)
        return lost

    def monitor(self) -> Monitor:
        """Listen for uevents from now on, as with pyudev: ``poll(timeout)``, or iterate."""
        from daxemu.monitor import Monitor

        with self._operation():
            return Monitor(self._wiring)

    def add_region(
        self,
        size: int | str | None = None,
        *,
        raw: int | str | None = None,
        provider: str = "pmem",
        align: int | str = "2M",
        backend: str | None = None,
        start: int | str | None = None,
        driver: str = DEVICE_DAX,
        idle: bool | None = None,
        target_node: int | str = 0,
        numa_node: int | str = 0,
        scrub: bool = False,
        reserve: bool = False,
        persistence: str = "memory_controller",
    ) -> DaxRegion:
        """Add a region of ``size`` bytes that its devices have for themselves.

        Instead of ``size``, ``raw`` gives the size of the namespace of an NVDIMM; then ``start`` is
        where the namespace begins. Info block and page map (64 bytes for each 4 KiB) are taken from it
        as the kernel does: 256 MiB leave 250 MiB, 6 MiB in. ``persistence`` says from where on stores
        are safe on an NVDIMM: ``memory_controller``, or ``cpu_cache`` for a machine with eADR.

        A ``pmem`` region is static: it comes with its one device. An ``hmem`` or ``cxl`` region
        starts empty, ``create_device`` makes devices in it; with ``idle=False`` it starts with one
        device over all of it, as at boot. ``target_node`` is the NUMA node that the memory would
        make as ordinary memory, ``numa_node`` the one that it is near to; -1 for none. ``start`` is
        the physical address to show, by default above all memory. ``driver`` is what the first
        device is bound to: ``device_dax``, ``kmem``, ``none``, or ``auto`` for what the kernel does
        by itself. Memory that a device gives up keeps its contents for the next that gets it, as on
        hardware; ``scrub`` zeroes it. ``backend`` is a store's name, or ``name:where``, by default
        ``tmpfs``, or files in the engine's ``state``; with
        ``reserve`` all memory of a device is taken when it is made, so that no touch ever lacks it.
        UsageError: unknown provider, backend or driver, a backend that does not work here, an
        alignment other than 4K, 2M, 1G or smaller than the store's pages, a size or start that is
        not a multiple of it, addresses that another region has. ENOMEM: more than a machine
        addresses. ENOSPC: not so much memory is left to reserve.
        """
        found = find_provider(provider, self._core.flavour)
        length, alignment = parse_size(_given(found, size, raw)), parse_size(align)
        if persistence not in PERSISTENCE_DOMAINS:
            raise UsageError(f"persistence {persistence!r} is none of {', '.join(PERSISTENCE_DOMAINS)}")
        if not found.static and persistence != PERSISTENCE_DOMAINS[0]:
            raise UsageError(
                f"persistence {persistence!r}: only regions of provider 'pmem' are persistent; leave it out"
            )
        if alignment not in ALIGNMENTS:
            raise UsageError(f"alignment {align!r}: a device is aligned to {', '.join(map(format_size, ALIGNMENTS))}")
        if raw is None and (length == 0 or length % alignment):
            unit = format_size(alignment)
            raise UsageError(f"size {size!r} is not a multiple of the alignment {unit}; give a size such as {unit!r}")
        nodes = _parse_node(target_node, "target_node"), _parse_node(numa_node, "numa_node")
        backend = backend or (self._state.backend if self._state else "tmpfs")
        store = find_backend(backend)
        if self._state and not store.persistent:
            raise UsageError(f"backend {backend!r} forgets what the state is to keep; leave it out, or use a file")
        if alignment < store.page_size:
            pages = format_size(store.page_size)
            raise UsageError(f"alignment {align!r}: the pages of backend {backend!r} are {pages}; align to that")
        if driver not in ("auto", "none", *self._core.driver_names):
            raise UsageError(f"unknown driver {driver!r}; there are: {', '.join(self._core.driver_names)}, none, auto")
        with self._operation() as core:
            at, total, layout = self._place(found, start, length, alignment, raw=raw is not None)
            for other in self._wiring.memories.values():
                if at < other.start + other.size and other.start < at + total:
                    raise UsageError(
                        f"{at:#x} to {at + total:#x}: a region has {other.start:#x} to {other.start + other.size:#x}; "
                        "give another start, or none"
                    )
            self._wiring.memories[at] = RegionMemory(store, f"region-{at:x}", at, total, scrub=scrub, reserve=reserve)
            first: Plug
            again: Plug
            if layout is None:
                first = again = partial(
                    core.add_region,
                    found,
                    start=at,
                    size=length,
                    align=alignment,
                    target_node=nodes[0],
                    numa_node=nodes[1],
                    idle=not found.static if idle is None else idle,
                    driver=driver,
                )
            else:
                plug = partial(
                    self._nvdimm_bus(core).add_region,
                    start=at,
                    raw=total,
                    target_node=nodes[0],
                    numa_node=nodes[1],
                    persistence=persistence,
                    driver=driver,
                )
                first, again = partial(plug, align=alignment, layout=layout), plug
            try:
                region = first()
            except BaseException:
                self._wiring.memories.pop(at, None)
                raise
            self._next_start = max(self._next_start, -(-(at + total + 1) // _REGION_SPACING) * _REGION_SPACING)
            facade = self._facade(region)
            facade._plug = again
            facade._backend = backend
            return facade

    def _place(
        self, provider: Provider, start: int | str | None, length: int, align: int, *, raw: bool
    ) -> tuple[int, int, Layout | None]:
        """Where the memory of a new region begins, how much of it there is; how an NVDIMM's is divided."""
        at = self._next_start if start is None else parse_size(start)
        if at % align:
            raise UsageError(f"start {at:#x} is not a multiple of the alignment {format_size(align)}")
        if not provider.static:
            return at, length, None
        if raw:
            return at, length, lay_out(at, length, align)
        layout = raw_size_for(length, align)
        total = layout.offset + layout.size + layout.cut
        if start is None:
            return at, total, layout
        if at < layout.offset:
            raise UsageError(f"start {at:#x}: before it {layout.offset} bytes of the namespace must have room")
        return at - layout.offset, total, layout

    def _nvdimm_bus(self, core: DaxCore) -> NvdimmBus:
        """The bus that all NVDIMMs hang on; there is none before there is one of them."""
        if core.nvdimm is None:
            control, dimm = _free_majors()[1:3]
            core.nvdimm = NvdimmBus(core, control_major=control, dimm_major=dimm)
        return core.nvdimm

    def environ(self) -> dict[str, str]:
        """Variables that make a program see the devices. The first call opens the session for them.

        UsageError: the session cannot have the name it was to have.
        """
        with self._operation() as core:
            handlers = Handlers(
                store=self._store,
                may_open=self._may_open,
                show_tree=self._show_tree,
                show_machine=self._show_machine,
                command=self._command,
                open_disk=self._open_disk,
                ioctl=self._ioctl,
                client=self._clients.tell,
                hwpoison=self._hwpoison,
            )
            return self._wiring.open_session(core, handlers, self._session_name).environ()

    def write_attribute(self, path: str, text: str) -> None:
        """Write a sysfs attribute by its path without links, ``/sys/devices/…`` or ``/sys/bus/dax/drivers/…``.

        Raises KernelError with what the kernel answers; EACCES for one that cannot be written.
        """
        self._store(path.lstrip("/"), text.encode())

    def _open_disk(self, name: str) -> int:
        """A descriptor of the memory behind a raw namespace's block device. ENXIO: there is none of that name."""
        with self._operation() as core:
            for region in core.nvdimm.regions.values() if core.nvdimm is not None else ():
                if any(node == name and block for node, _, block in region.nodes()):
                    return self._wiring.memories[region.start].fd
        raise KernelError(errno.ENXIO, f"no block device {name}")

    def _ioctl(self, name: str, request: int, argument: bytes) -> bytes:
        """An ioctl on a node of the nvdimm bus. ENODEV: it is gone; then as ``nvdimm.commands.command``."""
        with self._operation() as core:
            if core.nvdimm is None:
                raise KernelError(errno.ENODEV, "there is no nvdimm bus")
            return command(core.nvdimm, name, request, argument)

    def _store(self, path: str, data: bytes) -> None:
        """One write of an attribute. The kernel ends the text at the first zero byte."""
        from daxemu.sysfs.tree import find_store

        text = data.partition(b"\0")[0].decode(errors="replace")
        with self._operation() as core:
            error = 0
            try:
                store = find_store(core, path)
                self._wiring.faults._meet("store", f"/{path}")
                store(text)
            except KernelError as refusal:
                error = refusal.errno or 0
                raise
            finally:
                self._wiring.stored(f"/{path}", text, error)
            if self._wiring.session is not None:
                self._wiring.session.show_bus(core.bus)

    def _hwpoison(self, pid: int, minor: int, first: int, end: int) -> None:
        """A program pretends that part of a device is broken, and has been told itself."""
        with self._operation() as core:
            for device in core.bus.devices.values():
                if device.devt.minor == minor and device.alive:
                    self._wiring.tell_broken(device, (first, end), pid)

    def _show_tree(self) -> None:
        with self._operation() as core:
            if self._wiring.session is not None:
                self._wiring.session.show_tree(core)

    def _show_machine(self) -> None:
        with self._operation() as core:
            if self._wiring.session is not None:
                self._wiring.session.show_machine(core.memory)

    def close(self) -> None:
        """Shut the machine down: devices are revoked, memory is freed, the session is removed."""
        if os.getpid() != self._pid:  # a forked child's copy: nothing of it is the child's to remove
            return
        with self._lock:
            if self._closed:
                return
            with ExitStack() as steps:
                steps.callback(atexit.unregister, self.close)
                if self._state is not None:
                    steps.callback(self._state.close)
                steps.callback(self._wiring.close_memories)
                for monitor in tuple(self._wiring.monitors):
                    steps.callback(monitor.close)
                steps.callback(self._wiring.kmsg._close)
                steps.callback(self._wiring.tell_plugins, self)
                steps.callback(setattr, self, "_closed", True)
                steps.callback(self._clients.close)
                if self._wiring.session is not None:
                    steps.callback(self._wiring.session.close)
                    steps.callback(self._core.shutdown)
                    steps.callback(self._wiring.session.stop_projecting)
                else:
                    steps.callback(self._core.shutdown)
                for file in tuple(self._wiring.files):
                    steps.callback(file.close)
                for recorder in tuple(self._recorders.values()):
                    steps.callback(recorder.close)
                for region in self._core.regions.values():
                    self._wiring.abandon(region)

    @contextmanager
    def _operation(self) -> Iterator[DaxCore]:
        """One change at a time, on an engine that is open."""
        with self._lock:
            if self._closed:
                raise UsageError("the engine is closed")
            try:
                yield self._core
            finally:
                if self._state is not None:
                    self._state.save(self)
                self._wiring.tell_plugins(self)

    def _take_from_driver(self, device: DevDax) -> None:
        """Unbind as ``daxctl`` does by force: what has become memory goes offline first, or it would stay for ever."""
        if device.driver is not None:
            for block in device.driver.blocks(device):
                self._core.memory.offline(block)
            self._core.bus.unbind(device)

    def _restore(self, state: MachineState) -> None:
        """Make the machine again that the state tells of. Whatever is wrong with it, it stays as it is."""
        self._state = None
        try:
            state.restore(self)
            self._state = state
        finally:
            if self._state is None:
                self.close()
                state.close()

    def _resize(self, device: DevDax, size: int) -> None:
        """Resize as an administrator does: unbound; bound again whatever happens, an idle device to device_dax."""
        driver = device.driver.name if device.driver else DEVICE_DAX
        try:
            self._take_from_driver(device)
            device.resize(size)
        finally:
            if device.size:
                self._core.hand_over(device, driver)

    def _make_ready(self, device: DevDax) -> None:
        """Have device_dax bind the device, and bring it alive: a test before may have left it otherwise."""
        with self._operation() as core:
            if device.driver is not None and device.driver.name != DEVICE_DAX:
                self._take_from_driver(device)
            if device.driver is None:
                core.hand_over(device, DEVICE_DAX)
            device.run()

    def _open(self, device: DevDax, *, write: bool) -> File:
        self._wiring.faults._meet("open", f"/dev/{device.name}")
        with self._operation() as core:
            return dax_open(core, NodeInode(device.devt), write=write)

    def _may_open(self, minor: int) -> None:
        """A program is about to open a device. It holds no lock of ours, as it may be long before it may."""
        name = next((d.name for d in tuple(self._core.bus.devices.values()) if d.devt.minor == minor), None)
        if name is not None:
            self._wiring.faults._meet("open", f"/dev/{name}")

    def _command(self, request: bytes) -> bytes:
        from daxemu.control import answer

        return answer(self, request)
