"""NUMA nodes as files: the machine's own, with what was added to them, and those that have nothing else."""

from __future__ import annotations

import re
from typing import NamedTuple

from daxemu.kernel.memory import MEMORY_BLOCK_SIZE, NORMAL, Memory, NumaNode
from daxemu.kernel.ranges import PAGE_SIZE
from daxemu.sysfs.attributes import Attribute
from daxemu.sysfs.machine import Machine, format_list
from daxemu.sysfs.stores import store_uevent

__all__ = ["NODES_ATTRIBUTES", "NODE_ATTRIBUTES", "ShownNode", "ShownNodes"]

# How far a node is that the firmware says nothing about: from itself, and from all others.
_LOCAL_DISTANCE = "10"
_REMOTE_DISTANCE = "20"


class ShownNode(NamedTuple):
    """A node, and the machine by whose texts it is shown."""

    node: NumaNode
    machine: Machine

    @property
    def is_own(self) -> bool:
        """Does the machine have it by itself?"""
        return self.node.id in self.machine.nodes

    def text(self, name: str) -> str:
        """A file's text; of a node that the machine does not have, one like another's with nothing in it."""
        if self.is_own:
            return self.machine.nodes[self.node.id].get(name, "")
        like = self.machine.nodes[min(self.machine.nodes)].get(name, "")
        if name in ("cpulist", "cpumap"):
            return re.sub(r"[0-9a-f]", "0", like) if name == "cpumap" else "\n"
        named = re.sub(r"(?m)^Node \d+", f"Node {self.node.id}", like)
        return re.sub(r"(?m)( *)\d+(?=( kB)?$)", self._nothing if name == "meminfo" else r"\g<1>0", named)

    @staticmethod
    def _nothing(number: re.Match[str]) -> str:
        return "0".rjust(len(number[0]))

    def distance(self) -> str:
        """How far all nodes are, in the order of their numbers."""
        known = {self.node.id: _LOCAL_DISTANCE}
        if self.is_own:
            known = dict(zip(sorted(self.machine.nodes), self.text("distance").split(), strict=False))
        return " ".join(known.get(node, _REMOTE_DISTANCE) for node in self.node.memory.nodes) + "\n"

    def meminfo(self) -> str:
        """What the machine's own says, and what is online of what was added; all of that is free."""
        return self._raised("meminfo", r"(?m)^(Node \d+ Mem(?:Total|Free):)( *\d+)", 1024)

    def vmstat(self) -> str:
        """The same, in pages."""
        return self._raised("vmstat", r"(?m)^(nr_free_pages)( \d+)", PAGE_SIZE)

    def _raised(self, name: str, pattern: str, unit: int) -> str:
        """Add what is online to the numbers in a text, in units of so many bytes and in the number's columns."""
        online = sum(block.zone is not None for block in self.node.blocks) * MEMORY_BLOCK_SIZE // unit

        def raised(match: re.Match[str]) -> str:
            return match[1] + " " + str(int(match[2]) + online).rjust(len(match[2]) - 1)

        return re.sub(pattern, raised, self.text(name))


class ShownNodes(NamedTuple):
    """The directory of all nodes."""

    memory: Memory
    machine: Machine

    def having(self, what: str) -> str:
        """The nodes that have something, or that are ``online`` or ``possible``."""
        nodes = self.machine.lists.get(what, frozenset())
        if what in ("has_memory", "has_normal_memory"):
            zones = {block.node: block.zone for block in self.memory.blocks.values() if block.zone is not None}
            nodes |= {node for node, zone in zones.items() if zone == NORMAL or what == "has_memory"}
        elif what == "online":
            nodes = frozenset(self.memory.nodes)
        elif what == "possible":
            regions = self.memory.core.regions.values()
            nodes |= {*self.memory.nodes, *(region.target_node for region in regions if region.target_node >= 0)}
        return format_list(nodes) + "\n"


def _store_compact(_shown: ShownNode, _text: str) -> None:
    """Ask for free memory to be moved together: there is nothing to be moved."""


NODE_ATTRIBUTES: tuple[Attribute[ShownNode], ...] = (
    Attribute("compact", 0o200, None, None, _store_compact),
    Attribute("cpulist", 0o444, None, lambda shown: shown.text("cpulist")),
    Attribute("cpumap", 0o444, None, lambda shown: shown.text("cpumap")),
    Attribute("distance", 0o444, None, ShownNode.distance),
    Attribute("meminfo", 0o444, None, ShownNode.meminfo),
    Attribute("numastat", 0o444, None, lambda shown: shown.text("numastat")),
    Attribute("uevent", 0o644, None, lambda _: "", lambda shown, text: store_uevent(shown.node, text)),
    Attribute("vmstat", 0o444, None, ShownNode.vmstat),
)

NODES_ATTRIBUTES: tuple[Attribute[ShownNodes], ...] = (
    Attribute("has_cpu", 0o444, None, lambda shown: shown.having("has_cpu")),
    Attribute("has_generic_initiator", 0o444, None, lambda shown: shown.having("has_generic_initiator")),
    Attribute("has_memory", 0o444, None, lambda shown: shown.having("has_memory")),
    Attribute("has_normal_memory", 0o444, None, lambda shown: shown.having("has_normal_memory")),
    Attribute("online", 0o444, None, lambda shown: shown.having("online")),
    Attribute("possible", 0o444, None, lambda shown: shown.having("possible")),
    Attribute("uevent", 0o644, None, lambda _: "", lambda shown, text: store_uevent(shown.memory.all_nodes, text)),
)
