"""Everything that the model needs from outside, in memory; and faults on demand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from daxemu.errors import KernelError
from daxemu.kernel.bus import DaxBus, DeviceDax
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.file import File, Vma, dax_open
from daxemu.kernel.ids import CharDevices, Ida
from daxemu.kernel.memory import BootNodes, Memory, MemoryBlock
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.ports import Event
from daxemu.kernel.pseudofs import AddressSpace, DaxSuperBlock, NodeInode
from daxemu.kernel.ranges import RangeTree
from daxemu.kernel.region import DaxRegion
from daxemu.kernel.uevent import Uevent

M = 1 << 20
G = 1 << 30
BLOCK = 2 * M
REGION_START = 1 << 40
MAP_AT = 1 << 44


class FakeBacking:
    """Memory of which only the size is kept, and the smallest size it ever had."""

    def __init__(self, ports: FakePorts, size: int) -> None:
        self.ports = ports
        self.size = self.smallest = size

    def resize(self, size: int) -> None:
        self.size = size
        self.smallest = min(self.smallest, size)

    def close(self) -> None:
        self.ports.backings.remove(self)


class FakeMemory:
    """The memory of an NVDIMM: blocks by their offset."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}

    def read(self, offset: int, size: int) -> bytes:
        return self.blocks.get(offset, bytes(size))

    def write(self, offset: int, data: bytes) -> None:
        self.blocks[offset] = data

    def close(self) -> None:
        self.blocks.clear()


class FakePorts:
    """Records events; ``shown`` is what an onlooker believes who knows nothing but them."""

    def __init__(self) -> None:
        self.backings: list[FakeBacking] = []
        self.events: list[str] = []
        self.uevents: list[Uevent] = []
        self.kmsg: list[tuple[int, str]] = []
        self.shown: dict[str, object] = {}

    def create_backing(self, device: DevDax) -> FakeBacking:
        backing = FakeBacking(self, device.size)
        backing.device = device
        self.backings.append(backing)
        return backing

    def create_memory(self, region: NdRegion) -> FakeMemory:  # noqa: ARG002
        return FakeMemory()

    def publish(self, event: Event) -> None:
        subject = event.subject
        if isinstance(subject, DevDax):
            name, there = subject.name, subject.registered
            state: object = (subject.size, subject.alive, subject.driver and subject.driver.name)
        elif isinstance(subject, MemoryBlock):
            name, there, state = subject.name, subject.present, subject.valid_zones
        elif isinstance(subject, Memory):
            name, there, state = "memory", True, subject.auto_online
        else:
            name, there, state = f"region{subject.id}", subject.published, subject.size
        self.events.append(f"{event.action} {name}")
        if there:
            self.shown[name] = state
        else:
            self.shown.pop(name, None)

    def boot_nodes(self) -> BootNodes:
        return BootNodes(frozenset({0, 1}), frozenset({0}))

    def uevent(self, event: Uevent) -> None:
        self.uevents.append(event)

    def log(self, level: int, text: str) -> None:
        self.kmsg.append((level, text))


class Mapper:
    """Somebody who maps, and does as told when unmapped."""

    def __init__(self, unmap: Callable[[int, int], object]) -> None:
        self.unmap = unmap


def booted(**options: int) -> DaxCore:
    """A running core with fake ports."""
    core = DaxCore(FakePorts(), **options)
    core.boot()
    return core


def fake_ports(core: DaxCore) -> FakePorts:
    assert isinstance(core.ports, FakePorts)
    return core.ports


def node(device: DevDax) -> NodeInode:
    """A new node that carries the device's number."""
    return NodeInode(device.devt)


def opened(device: DevDax) -> File:
    return dax_open(device.core, node(device))


def mapped(device: DevDax, length: int | None = None, *, at: int = MAP_AT, pgoff: int = 0) -> Vma:
    """A shared mapping, by default of the whole device, through a node of its own."""
    return opened(device).mmap(at, device.size if length is None else length, pgoff=pgoff)


def errno_of(operation: Callable[..., object], *args: Any, **kwargs: Any) -> int | None:
    """The errno that an operation is refused with; None if it succeeds."""
    try:
        operation(*args, **kwargs)
    except KernelError as error:
        return error.errno
    return None


# -- the complete state -------------------------------------------------------------------------


def _ida(ida: Ida) -> list[int]:
    return sorted(ida._used)


def _device_state(device: DevDax) -> dict[str, object]:
    return {
        "id": device.id,
        "devt": device.devt,
        "inode": (device.inode.i_rdev, device.inode.i_count, device.inode.i_flags),
        "mappings": [sorted(vma.pages.items()) for vma in device.inode.i_mapping.i_mmap if isinstance(vma, Vma)],
        "openers": [opener.i_mapping is device.inode.i_mapping for opener in device.openers],
        "align": device.align,
        "ranges": [(r.owner, r.start, r.end, r.pgoff, r.mapping_id) for r in device.ranges],
        "mapping ids": _ida(device.mapping_ida),
        "driver": device.driver and device.driver.name,
        "alive": device.alive,
        "registered": device.registered,
        "kref": device.kref,
        "backing": device.backing.size if isinstance(device.backing, FakeBacking) else None,
    }


def _region_state(region: DaxRegion) -> dict[str, object]:
    return {
        "kref": region.kref,
        "published": region.published,
        "ids": _ida(region.ida),
        "resource": [(r.owner, r.start, r.end) for r in region.resource.children()],
        "children": {name: _device_state(device) for name, device in region.children.items()},
    }


def snapshot(core: DaxCore) -> dict[str, object]:
    """All there is to know about a core and its outside."""
    running = hasattr(core, "bus") and core.super_block._mounted
    ports = fake_ports(core)
    return {
        "majors": dict(core.chrdevs._regions),
        "cdevs": {devt: cdev.name for devt, cdev in core.chrdevs._cdevs.items() if isinstance(cdev, DevDax)},
        "minors": _ida(core.minor_ida),
        "region ids": _ida(core.region_ida),
        "regions": {number: _region_state(region) for number, region in core.regions.items()},
        "running": running,
        "drivers": list(core.bus.drivers) if running else [],
        "bus": list(core.bus.devices) if running else [],
        "inodes": sorted(inode.i_rdev for inode in core.super_block.inodes()) if running else [],
        "awaiting rcu": len(core.super_block._awaiting_rcu) if running else 0,
        # What a removed device that is still open has left of its memory is nobody's business.
        "backings": [backing.size if backing.device.registered else None for backing in ports.backings],
        "memory": {block.name: (block.node, block.valid_zones) for block in core.memory.blocks.values()},
        "memory ranges": list(core.reserved),
        "shown": dict(ports.shown),
    }


# -- faults -------------------------------------------------------------------------------------


class InjectedFault(BaseException):
    """Not even an Exception: unwinding must not depend on what went wrong."""


# A step fails before it has done anything, except that these have done everything.
EFFECT_FIRST = {"FakePorts.publish", "FakeBacking.close"}

STEPS: tuple[tuple[type, str], ...] = (
    (Ida, "alloc"),
    (CharDevices, "register_region"),
    (CharDevices, "add"),
    (DaxSuperBlock, "__init__"),
    (DaxSuperBlock, "iget"),
    (AddressSpace, "unmap_mapping_range"),
    (RangeTree, "insert"),
    (RangeTree, "grow_step"),
    (RangeTree, "shrink"),
    (DaxRegion, "__init__"),
    (DaxRegion, "get"),
    (DevDax, "__init__"),
    (DevDax, "grow_ranges"),
    (DevDax, "run"),
    (DevDax, "resize"),
    (Memory, "reserve"),
    (Memory, "add"),
    (Memory, "online"),
    (DaxBus, "__init__"),
    (DaxBus, "register_driver"),
    (DaxBus, "bind"),
    (DeviceDax, "probe"),
    (DaxCore, "_mount"),
    (DaxCore, "_register_numbers"),
    (DaxCore, "_register_bus"),
    (DaxCore, "create_device"),
    (DaxCore, "_initialize_device"),
    (DaxCore, "_device_add"),
    (DaxCore, "publish"),
    (FakePorts, "create_backing"),
    (FakePorts, "publish"),
    (FakeBacking, "resize"),
    (FakeBacking, "close"),
)


class Injector:
    """Notes every step that is taken, and makes the one of number ``fail_at`` raise."""

    def __init__(self, fail_at: int | None = None, *, only: str = "", for_good: bool = False) -> None:
        self.taken: list[str] = []
        self.fail_at = fail_at
        self.only = only
        self.for_good = for_good

    def step(self, name: str) -> bool:
        """Note a step; tell whether it is to fail."""
        if not name.startswith(self.only):
            return False
        self.taken.append(name)
        number = len(self.taken) - 1
        return self.fail_at is not None and (number == self.fail_at or (self.for_good and number > self.fail_at))


def _instrumented(original: Callable[..., object], name: str, injector: Injector) -> Callable[..., object]:
    @functools.wraps(original)
    def step(*args: Any, **kwargs: Any) -> object:
        fails = injector.step(name)
        if fails and name not in EFFECT_FIRST:
            raise InjectedFault(name)
        result = original(*args, **kwargs)
        if fails:
            raise InjectedFault(name)
        return result

    return step


@contextmanager
def injected(injector: Injector) -> Iterator[Injector]:
    """Instrument every step of the model while inside."""
    with pytest.MonkeyPatch.context() as patch:
        for cls, name in STEPS:
            patch.setattr(cls, name, _instrumented(getattr(cls, name), f"{cls.__name__}.{name}", injector))
        yield injector
