"""What the model reaches the world through: backing stores for memory, a session and mappings to be told of changes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from daxemu._core import move_mappings, sync_mappings
from daxemu.backing.memory import DeviceMemory, RegionMemory
from daxemu.errors import KernelError
from daxemu.faults import Faults
from daxemu.kernel.device import DevDax
from daxemu.kernel.memory import BootNodes, Memory, MemoryBlock
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.ports import Event
from daxemu.kernel.region import DaxRegion
from daxemu.kmsg import Kmsg
from daxemu.plugins import call_hook, hooks
from daxemu.session import layout
from daxemu.session.layout import MOVED_POISONED, MOVED_SCATTERED
from daxemu.session.session import Session

if TYPE_CHECKING:
    from daxemu.engine import Engine
    from daxemu.file import DaxFile
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.ports import Backing, RawMemory
    from daxemu.kernel.uevent import Uevent
    from daxemu.monitor import Monitor
    from daxemu.session.server import Handlers

__all__ = ["Wiring"]


# The end of the hook's name for what happened to a region or a device.
_TOLD = {
    "add": "added",
    "bind": "bound",
    "revive": "revived",
    "resize": "resized",
    "kill": "killed",
    "unbind": "unbound",
    "remove": "removed",
}


class _Stored(NamedTuple):
    """A program, or a test, has written an attribute; ``error`` is the errno it got, 0 for none."""

    path: str
    text: str
    error: int


def _hook_call(engine: Engine, event: Event | Uevent | _Stored) -> tuple[str, dict[str, object]]:
    """The hook that tells of this, and its arguments."""
    if isinstance(event, _Stored):
        return "daxemu_attribute_stored", {"engine": engine, **event._asdict()}
    if not isinstance(event, Event):
        return "daxemu_uevent", {"engine": engine, "event": event}
    if isinstance(event.subject, DevDax):
        region = engine._facade(event.subject.region.hardware)
        return f"daxemu_device_{_TOLD[event.action]}", {"device": region._facade(event.subject)}
    assert isinstance(event.subject, DaxRegion)
    return f"daxemu_region_{_TOLD[event.action]}", {"region": engine._facade(event.subject.hardware)}


class Wiring:
    """The model's ports (``daxemu.kernel.ports.Ports``), connected."""

    def __init__(self) -> None:
        self.memories: dict[int, RegionMemory] = {}  # by where they start
        self.files: set[DaxFile] = set()  # that may have mappings in this interpreter
        self.session: Session | None = None
        self.kmsg = Kmsg()
        self.faults = Faults(self._ask_as_needed)
        self.monitors: list[Monitor] = []
        self._untold: list[Event | Uevent | _Stored] = []

    def create_backing(self, device: DevDax) -> Backing:
        """Memory for a device, from its region's store, with what its ranges held before."""
        backing = DeviceMemory(self.memories[device.region.hardware.start], device)
        device.inode.i_mapping.i_mmap.append(_Processes(self, device))
        return backing

    def create_memory(self, region: NdRegion) -> RawMemory:
        """The memory of an NVDIMM, as ``Engine.add_region`` has chosen it."""
        return self.memories[region.start]

    def publish(self, event: Event) -> None:
        """Show a change in the session, if there is one; give mappings back what has come alive."""
        subject = event.subject
        if isinstance(subject, (MemoryBlock, Memory)):
            if self.session is not None:
                self.session.show_memory(subject)
            return
        if isinstance(subject, NdRegion):
            if self.session is not None:
                self.session.show_nvdimm(subject)
            if event.action == "remove" and not self.memories[subject.start].unplugged:
                self.memories.pop(subject.start).close()
            return
        if event.action in _TOLD and hooks() is not None:
            self._untold.append(event)
        if isinstance(subject, DevDax):
            if event.action == "revive":
                self._memory_of(subject).give_back()
            if event.action == "poison" and subject.poison:
                self._check_breakable(subject)
            if self.session is not None:
                self.session.show_device(subject)
                if event.action == "poison" and subject.region.claim is not None:
                    self.session.show_nvdimm(subject.region.claim.region)
                if event.broken is not None and subject.alive:
                    self.session.set_check(subject, event.broken)
            if event.action in ("revive", "poison") or (
                event.action == "resize" and subject.alive and subject.has_faults
            ):
                self.synchronise(subject)
            return
        if self.session is not None:
            self.session.show_region(subject)
        if event.action == "remove" and subject.claim is None and not self.memories[subject.start].unplugged:
            self.memories.pop(subject.start).close()

    def boot_nodes(self) -> BootNodes:
        """The machine's NUMA nodes."""
        from daxemu.sysfs.machine import boot_nodes

        return boot_nodes()

    def uevent(self, event: Uevent) -> None:
        """Hand a uevent to who listens; plugins hear of it when the operation is over."""
        for monitor in tuple(self.monitors):
            monitor._receive(event)
        self._untold.append(event)

    def stored(self, path: str, text: str, error: int) -> None:
        """Plugins hear of an attribute that was written."""
        if hooks() is not None:
            self._untold.append(_Stored(path, text, error))

    def log(self, level: int, text: str) -> None:
        """Add a line to the kernel's log."""
        self.kmsg._append(level, text)

    def tell_plugins(self, engine: Engine) -> None:
        """Call the hooks for what has happened since. A hook that fails is reported, and hinders nobody."""
        while self._untold:
            name, arguments = _hook_call(engine, self._untold.pop(0))
            call_hook(name, **arguments)

    def close_memories(self) -> None:
        """Free what unplugged hardware holds."""
        while self.memories:
            self.memories.popitem()[1].close()

    def abandon(self, region: DaxRegion | NdRegion) -> None:
        """A region is about to go: what its devices give up need not be kept."""
        self.memories[region.hardware.start].abandoned = True

    def synchronise(self, device: DevDax) -> None:
        """Bring every mapping of every process in line with whether the device is alive, and what of it is broken."""
        memory = self._memory_of(device)
        done = memory.movable and self._synchronise_own(device, memory)
        if memory.movable and self.session is not None and not self.session.synchronise(device):
            done = False
        if not done and not device.alive:
            memory.withdraw()

    def tell_broken(self, device: DevDax, part: tuple[int, int], by: int) -> None:
        """Tell processes that asked to be told early, but for one, that a part of a device is taken for broken."""
        if self.session is not None:
            self.session.set_check(device, part, by)
            self.session.synchronise(device)

    def _synchronise_own(self, device: DevDax, memory: DeviceMemory) -> bool:
        """The mappings of this interpreter. False where the kernel does not let them be moved (seccomp, valgrind)."""
        if any(file._maps(device) for file in self.files):
            try:
                sync_mappings(*memory.identity, device.alive)
                self.show_poison(device)
            except OSError:
                return False
        return True

    def show_poison(self, device: DevDax) -> None:
        """Bring the mappings of this interpreter in line with what of the device is broken, or scattered."""
        identity = self._memory_of(device).identity
        for blocks, reason in ((device.poisoned_blocks, MOVED_POISONED), (device.scattered_blocks, MOVED_SCATTERED)):
            mended = 0
            for first, end in blocks:
                move_mappings(*identity, mended, first, reason, False)
                move_mappings(*identity, first, end, reason, True)
                mended = end
            move_mappings(*identity, mended, 1 << 63, reason, False)

    def _check_breakable(self, device: DevDax) -> None:
        memory = self._memory_of(device)
        if not memory.movable:
            name = self.memories[device.region.hardware.start].store.name
            raise KernelError(errno.EOPNOTSUPP, f"backend {name!r}: its mappings cannot be moved; take 'tmpfs'")

    @staticmethod
    def _memory_of(device: DevDax) -> DeviceMemory:
        assert isinstance(device.backing, DeviceMemory)
        return device.backing

    def open_session(self, core: DaxCore, handlers: Handlers, name: str | None) -> Session:
        """Return the session; the first call makes it and shows what there is. Handlers carry out what is asked."""
        if self.session is None:
            session = Session(major=core.major, flavour=core.flavour, handlers=handlers, name=name)
            try:
                session.show(core)
            except BaseException:
                session.close()
                raise
            self.session = session
            self._ask_as_needed()
        return self.session

    def _ask_as_needed(self) -> None:
        """Programs ask before they open a device where that may fail; else it costs them nothing."""
        if self.session is not None:
            self.session.set_asks(layout.ASK_OPEN if self.faults._has("open") else 0)


class _Processes:
    """All processes that map a device, as one mapper of its address space."""

    def __init__(self, wiring: Wiring, device: DevDax) -> None:
        self._wiring = wiring
        self._device = device

    def unmap(self, first: int, last: int) -> None:  # noqa: ARG002
        """Revoke. The range is not looked at: a shrink has cut the file, all else revokes the whole."""
        self._wiring.faults._meet("zap", f"/dev/{self._device.name}")
        self._wiring.synchronise(self._device)
