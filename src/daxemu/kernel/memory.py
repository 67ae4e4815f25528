"""Memory hotplug: memory blocks, the NUMA nodes they belong to, and the zones that they are online in."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from daxemu.errors import KernelError
from daxemu.kernel.kmsg import KERN_WARNING
from daxemu.kernel.ports import Event
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore

__all__ = [
    "MEMORY_BLOCK_SIZE",
    "MOVABLE",
    "NORMAL",
    "STATES",
    "BootNodes",
    "Memory",
    "MemoryBlock",
    "NodesDirectory",
    "NumaNode",
    "SystemBus",
    "Zone",
]

MEMORY_BLOCK_SIZE = 128 << 20

# What a block can be told to be, and what new ones can be told to become.
STATES = ("offline", "online", "online_kernel", "online_movable")

Zone = Literal["Normal", "Movable"]
NORMAL: Zone = "Normal"
MOVABLE: Zone = "Movable"


class BootNodes(NamedTuple):
    """The NUMA nodes that the machine has by itself, and those of them that have memory."""

    online: frozenset[int]
    with_memory: frozenset[int]


class NumaNode(NamedTuple):
    """``nodeN``: one of the machine's NUMA nodes, or one that has only memory that was added."""

    memory: Memory
    id: int

    @property
    def core(self) -> DaxCore:
        """The machine it is part of."""
        return self.memory.core

    @property
    def name(self) -> str:
        """``nodeN``."""
        return f"node{self.id}"

    @property
    def blocks(self) -> list[MemoryBlock]:
        """Its memory blocks."""
        return self.memory.blocks_of(self.id)

    def kobject(self) -> Kobject:
        """The node as uevents see it."""
        return Kobject(f"/devices/system/node/{self.name}", "node", {}, f"node {self.name}")


class MemoryBlock:
    """``memoryN``: the unit in which memory goes online and offline. ``zone`` is None while it is offline."""

    def __init__(self, memory: Memory, index: int, node: int) -> None:
        self.memory = memory
        self.core = memory.core
        self.index = index
        self.node = node
        self.zone: Zone | None = None

    def __repr__(self) -> str:
        return f"<MemoryBlock {self.name} {self.zone or 'offline'}>"

    @property
    def name(self) -> str:
        """``memoryN``, N being the physical address in units of the block size."""
        return f"memory{self.index}"

    @property
    def start(self) -> int:
        """Physical address of the first byte."""
        return self.index * MEMORY_BLOCK_SIZE

    @property
    def present(self) -> bool:
        """False once it was removed."""
        return self.memory.blocks.get(self.index) is self

    @property
    def valid_zones(self) -> list[Zone]:
        """The zone that it is in; offline: those that it may go to, first the one that ``online`` chooses."""
        if self.zone is not None:
            return [self.zone]
        default = self.memory.default_zone(self)
        return [default, NORMAL if default == MOVABLE else MOVABLE]

    def kobject(self) -> Kobject:
        """The block as uevents see it."""
        return Kobject(f"/devices/system/memory/{self.name}", "memory", {}, f"memory {self.name}")


class SystemBus:
    """The bus ``memory`` or ``node``: it has devices, and no drivers ever."""

    def __init__(self, core: DaxCore, name: str, devices: Callable[[], Iterable[str]]) -> None:
        self.core = core
        self.name = name
        self.devices = devices
        self.autoprobe = True

    def kobject(self) -> Kobject:
        """The bus itself."""
        return Kobject(f"/bus/{self.name}", "bus", {})


class NodesDirectory(NamedTuple):
    """The directory of all nodes: of no subsystem, so nobody is told of it."""

    core: DaxCore

    def kobject(self) -> Kobject:
        """The directory itself."""
        return Kobject("/devices/system/node", "", {}, " node")


class Memory:
    """All memory that was added since boot. Blocks that the machine booted with are not among it."""

    def __init__(self, core: DaxCore) -> None:
        self.core = core
        self.auto_online = "online" if core.flavour.memory_comes_online else "offline"
        self.blocks: dict[int, MemoryBlock] = {}
        self.all_nodes = NodesDirectory(core)
        self.buses = (
            SystemBus(core, "memory", lambda: [block.name for block in self.blocks.values()]),
            SystemBus(core, "node", lambda: [f"node{node}" for node in self.nodes]),
        )
        self._spans: dict[tuple[int, Zone], range] = {}  # what _span found, until a block changes its zone

    @cached_property
    def boot_nodes(self) -> BootNodes:
        """The nodes that the machine has by itself; asked for when they first matter."""
        return self.core.ports.boot_nodes()

    @property
    def nodes(self) -> list[int]:
        """The nodes there are: a node without memory of its own is there while it has blocks."""
        return sorted(self.boot_nodes.online | {block.node for block in self.blocks.values()})

    def blocks_of(self, node: int) -> list[MemoryBlock]:
        """The blocks of a node."""
        return [block for block in self.blocks.values() if block.node == node]

    def kobject(self) -> Kobject:
        """The directory of all blocks: of no subsystem, so nobody is told of it."""
        return Kobject("/devices/system/memory", "", {}, " memory")

    # -- physical ranges ----------------------------------------------------------------------

    def reserve(self, start: int, end: int) -> None:
        """Take the physical range [start, end] (request_mem_region). EBUSY: something in it is taken."""
        if self.core.is_reserved(start, end):
            raise KernelError(errno.EBUSY, f"{start:#x}-{end:#x} is in use as memory")
        self.core.reserved.append((start, end))

    def release(self, start: int, end: int) -> None:
        """Give a range back."""
        self.core.reserved.remove((start, end))

    # -- hot-add and hot-remove ---------------------------------------------------------------

    def add(self, node: int, start: int, size: int) -> None:
        """Add whole blocks to a node; they come up as the policy ``auto_online`` says. All of them or none."""
        with ExitStack() as undo:
            added = []
            for index in range(start // MEMORY_BLOCK_SIZE, (start + size) // MEMORY_BLOCK_SIZE):
                block = MemoryBlock(self, index, node)
                undo.callback(self._drop, block)
                self._insert(block)
                added.append(block)
            for block in added if self.auto_online != "offline" else ():
                self.online(block, self.auto_online)
            undo.pop_all()

    def remove(self, start: int, size: int, *, force: bool = False) -> None:
        """Remove blocks. EBUSY: one of them is online, so all of them stay; ``force`` takes no notice."""
        blocks = [self.blocks[at // MEMORY_BLOCK_SIZE] for at in range(start, start + size, MEMORY_BLOCK_SIZE)]
        online = next((block for block in blocks if block.zone is not None), None)
        if online is not None and not force:
            span = f"[{online.start:#018x}-{online.start + MEMORY_BLOCK_SIZE - 1:#018x}]"
            self.core.log(KERN_WARNING, f"removing memory fails, because memory {span} is onlined")
            raise KernelError(errno.EBUSY, f"{online.name} is online")
        with ExitStack() as steps:
            for block in reversed(blocks):
                steps.callback(self._drop, block)

    def _insert(self, block: MemoryBlock) -> None:
        if block.node not in self.nodes:
            self.core.uevent("add", NumaNode(self, block.node))
        self.blocks[block.index] = block
        self.core.uevent("add", block)
        self.core.publish(Event("add", block))

    def _drop(self, block: MemoryBlock) -> None:
        del self.blocks[block.index]
        self._spans.clear()
        with ExitStack() as steps:
            if block.node not in self.nodes:
                steps.callback(self.core.uevent, "remove", NumaNode(self, block.node))
            steps.callback(self.core.uevent, "remove", block)
            steps.callback(self.core.publish, Event("remove", block))

    # -- online and offline -------------------------------------------------------------------

    def set_auto_online(self, policy: str) -> None:
        """Choose what becomes of new blocks. EINVAL: none of the policies."""
        if policy not in STATES:
            raise KernelError(errno.EINVAL, f"{policy!r} is none of {', '.join(STATES)}")
        before, self.auto_online = self.auto_online, policy
        try:
            self.core.publish(Event("change", self))
        except BaseException:
            self.auto_online = before
            self.core.publish(Event("change", self))
            raise

    def online(self, block: MemoryBlock, how: str = "online") -> bool:
        """Bring a block online in the zone that ``how`` asks for; False if it is online already, in whichever zone."""
        if block.zone is not None:
            return False
        zones: dict[str, Zone] = {"online_kernel": NORMAL, "online_movable": MOVABLE}
        self._move(block, zones.get(how) or self.default_zone(block))
        self.core.uevent("online", block)
        return True

    def offline(self, block: MemoryBlock) -> bool:
        """Take a block offline; False if it is offline already."""
        if block.zone is None:
            return False
        self._move(block, None)
        self.core.uevent("offline", block)
        return True

    def _move(self, block: MemoryBlock, zone: Zone | None) -> None:
        """Change a block's zone. Other blocks change with it where a zone now spans them, or no longer does."""
        others = [other for other in self.blocks_of(block.node) if other.zone is None and other is not block]
        before, defaults = block.zone, self._defaults(block.node, others)
        self._set_zone(block, zone)
        after = self._defaults(block.node, others)
        changed = [block, *(other for other in others if defaults[other.index] != after[other.index])]
        try:
            for each in changed:
                self.core.publish(Event("change", each))
        except BaseException:
            self._set_zone(block, before)
            for each in changed:
                self.core.publish(Event("change", each))
            raise

    def _set_zone(self, block: MemoryBlock, zone: Zone | None) -> None:
        block.zone = zone
        self._spans.clear()

    def default_zone(self, block: MemoryBlock) -> Zone:
        """Where a block goes that is told no zone: to Movable if that alone spans it, else to Normal."""
        return self._defaults(block.node, [block])[block.index]

    def _defaults(self, node: int, blocks: list[MemoryBlock]) -> dict[int, Zone]:
        normal, movable = self._span(node, NORMAL), self._span(node, MOVABLE)
        return {
            block.index: MOVABLE if block.index in movable and block.index not in normal else NORMAL for block in blocks
        }

    def _span(self, node: int, zone: Zone) -> range:
        """From a zone's first block to its last. What a node booted with is in Normal, below all that was added."""
        if (node, zone) not in self._spans:
            indices = [block.index for block in self.blocks_of(node) if block.zone == zone]
            if zone == NORMAL and node in self.boot_nodes.with_memory:
                indices.append(0)
            self._spans[node, zone] = range(min(indices), max(indices) + 1) if indices else range(0)
        return self._spans[node, zone]
