"""Memory blocks as files, the directories that they and the NUMA nodes are in, and the buses of both."""

from __future__ import annotations

import errno

from daxemu.errors import KernelError
from daxemu.kernel.memory import MEMORY_BLOCK_SIZE, STATES, Memory, MemoryBlock, NumaNode, SystemBus
from daxemu.sysfs.attributes import Attribute
from daxemu.sysfs.directory import Directories, Directory, File, Tree, files_in, links_to
from daxemu.sysfs.machine import Machine
from daxemu.sysfs.nodes import NODE_ATTRIBUTES, NODES_ATTRIBUTES, ShownNode, ShownNodes
from daxemu.sysfs.parse import parse_bool, parse_unsigned, same_text
from daxemu.sysfs.stores import store_uevent

__all__ = [
    "BLOCK_ATTRIBUTES",
    "MEMORY_ATTRIBUTES",
    "SYSTEM_BUS_ATTRIBUTES",
    "block_tree",
    "memory_directories",
    "memory_tree",
    "node_tree",
    "nodes_tree",
]

_MEMORY = "sys/devices/system/memory"
_NODE = "sys/devices/system/node"

# How this kernel adds memory; it cannot be changed here.
_PARAMETERS = {
    "auto_movable_numa_aware": "Y",
    "auto_movable_ratio": "301",
    "memmap_on_memory": "N",
    "online_policy": "contig-zones",
}


# -- stores -------------------------------------------------------------------------------------


def store_state(block: MemoryBlock, text: str) -> None:
    """Bring a block online or offline. EINVAL: none of the words, or it is so already."""
    memory, wanted = block.memory, same_text(text)
    if wanted not in STATES:
        raise KernelError(errno.EINVAL, f"{text!r} is none of {', '.join(STATES)}")
    if not (memory.offline(block) if wanted == "offline" else memory.online(block, wanted)):
        raise KernelError(errno.EINVAL, f"{block.name} is {'online' if block.zone else 'offline'} already")


def store_online(block: MemoryBlock, text: str) -> None:
    """Bring a block online or offline; that it is so already is no error. EINVAL: no truth value."""
    if parse_bool(text):
        block.memory.online(block)
    else:
        block.memory.offline(block)


def store_auto_online_blocks(memory: Memory, text: str) -> None:
    """Choose what becomes of new blocks. EINVAL: none of the words."""
    memory.set_auto_online(same_text(text))


def store_offline_page(memory: Memory, text: str) -> None:
    """Take the page at a physical address out of use. EINVAL: no number. ENXIO: no memory that was added is there."""
    try:
        address = parse_unsigned(text)
    except KernelError:
        raise KernelError(errno.EINVAL, f"{text!r} is not a physical address") from None
    block = memory.blocks.get(address // MEMORY_BLOCK_SIZE)
    if block is None or block.zone is None:
        raise KernelError(errno.ENXIO, f"{address:#x} is in no memory block that is online")


def store_drivers_probe(bus: SystemBus, text: str) -> None:
    """Look for a driver for a device: there is none, which is no error. ENODEV: no such device."""
    if same_text(text) not in bus.devices():
        raise KernelError(errno.ENODEV, f"no device {text!r} on the bus {bus.name}")


def store_drivers_autoprobe(bus: SystemBus, text: str) -> None:
    """Offer new devices to drivers, unless the text begins with 0."""
    bus.autoprobe = not text.startswith("0")


# -- attributes ---------------------------------------------------------------------------------

MEMORY_ATTRIBUTES: tuple[Attribute[Memory], ...] = (
    Attribute("auto_online_blocks", 0o644, None, lambda memory: f"{memory.auto_online}\n", store_auto_online_blocks),
    Attribute("block_size_bytes", 0o444, None, lambda _: f"{MEMORY_BLOCK_SIZE:x}\n"),
    Attribute(
        "crash_hotplug",
        0o444,
        None,
        lambda _: "0\n",
        present=lambda memory: memory.core.flavour.crash_hotplug,
    ),
    Attribute("hard_offline_page", 0o200, None, None, store_offline_page),
    Attribute("soft_offline_page", 0o200, None, None, store_offline_page),
    Attribute("uevent", 0o644, None, lambda _: "", store_uevent),
)

BLOCK_ATTRIBUTES: tuple[Attribute[MemoryBlock], ...] = (
    Attribute("online", 0o644, None, lambda block: f"{block.zone is not None:d}\n", store_online),
    Attribute("phys_device", 0o444, None, lambda _: "0\n"),
    Attribute("phys_index", 0o444, None, lambda block: f"{block.index:08x}\n"),
    Attribute("removable", 0o444, None, lambda _: "1\n"),
    Attribute("state", 0o644, None, lambda block: "online\n" if block.zone else "offline\n", store_state),
    Attribute("uevent", 0o644, None, lambda _: "", store_uevent),
    Attribute("valid_zones", 0o444, None, lambda block: " ".join(block.valid_zones) + "\n"),
)

SYSTEM_BUS_ATTRIBUTES: tuple[Attribute[SystemBus], ...] = (
    Attribute("drivers_autoprobe", 0o644, None, lambda bus: f"{bus.autoprobe:d}\n", store_drivers_autoprobe),
    Attribute("drivers_probe", 0o200, None, None, store_drivers_probe),
    Attribute("uevent", 0o200, None, None, store_uevent),
)


# -- directories --------------------------------------------------------------------------------


def _bus(bus: SystemBus) -> Directory[SystemBus]:
    return Directory(f"sys/bus/{bus.name}", SYSTEM_BUS_ATTRIBUTES, bus)


def _memory(memory: Memory) -> Directory[Memory]:
    return Directory(_MEMORY, MEMORY_ATTRIBUTES, memory)


def _block(block: MemoryBlock) -> Directory[MemoryBlock]:
    return Directory(f"{_MEMORY}/{block.name}", BLOCK_ATTRIBUTES, block)


def _nodes(memory: Memory, machine: Machine) -> Directory[ShownNodes]:
    return Directory(_NODE, NODES_ATTRIBUTES, ShownNodes(memory, machine))


def _node(node: NumaNode, machine: Machine) -> Directory[ShownNode]:
    return Directory(f"{_NODE}/{node.name}", NODE_ATTRIBUTES, ShownNode(node, machine))


def memory_directories(memory: Memory, path: str) -> Directories:
    """All that may have this path, to be written to: for a block in it, that block's alone."""
    machine = Machine({}, {})
    name = path.removeprefix(f"{_MEMORY}/memory").split("/")[0]
    if name.isdecimal() and int(name) in memory.blocks:
        yield _block(memory.blocks[int(name)])
    yield _memory(memory)
    yield _nodes(memory, machine)
    yield from (_node(NumaNode(memory, node), machine) for node in memory.nodes)
    yield from map(_bus, memory.buses)


# -- trees --------------------------------------------------------------------------------------


def memory_tree(memory: Memory) -> Tree:
    """What there is without any block: both directories' own files, both buses, and the module's parameters."""
    tree = files_in([_memory(memory), *map(_bus, memory.buses)])
    for bus in memory.buses:
        tree |= {f"sys/bus/{bus.name}/devices/": File(0o755, ""), f"sys/bus/{bus.name}/drivers/": File(0o755, "")}
    for name, value in _PARAMETERS.items():
        tree[f"sys/module/memory_hotplug/parameters/{name}"] = File(0o444, f"{value}\n")
    return tree


def block_tree(block: MemoryBlock) -> Tree:
    """A block's directory and the links to it and to its node."""
    home, node = f"{_MEMORY}/{block.name}", f"node{block.node}"
    links = {
        f"{home}/subsystem": "sys/bus/memory",
        f"{home}/{node}": f"{_NODE}/{node}",
        f"{_NODE}/{node}/{block.name}": home,
        f"sys/bus/memory/devices/{block.name}": home,
    }
    return _block(block).files() | links_to(links)


def nodes_tree(memory: Memory, machine: Machine) -> Tree:
    """The directory of all nodes, without the nodes."""
    return _nodes(memory, machine).files()


def node_tree(node: NumaNode, machine: Machine) -> Tree:
    """A node's directory, huge pages included, and the links of it; without the links to its blocks."""
    home = f"{_NODE}/{node.name}"
    shown = ShownNode(node, machine)
    tree = _node(node, machine).files()
    for name in machine.nodes[min(machine.nodes)]:
        if name.startswith("hugepages/"):
            tree[f"{home}/{name}"] = File(0o444, shown.text(name))
    return tree | links_to({f"{home}/subsystem": "sys/bus/node", f"sys/bus/node/devices/{node.name}": home})
