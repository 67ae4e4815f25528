"""What the machine's own sysfs tells about its NUMA nodes; only ever read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from daxemu.kernel.memory import BootNodes

__all__ = ["Machine", "boot_nodes", "format_list", "parse_list", "read_machine"]

_ROOT = Path("/sys/devices/system/node")
_LISTS = ("has_cpu", "has_generic_initiator", "has_memory", "has_normal_memory", "possible")
_FILES = ("cpulist", "cpumap", "distance", "meminfo", "numastat", "vmstat")


class Machine(NamedTuple):
    """The machine's nodes: which have what, and each one's files by their path below the node's directory."""

    lists: Mapping[str, frozenset[int]]
    nodes: Mapping[int, Mapping[str, str]]


def parse_list(text: str) -> frozenset[int]:
    """Read ``0-2,5``, as the kernel writes sets of nodes and CPUs."""
    found: set[int] = set()
    for item in filter(None, text.strip().split(",")):
        first, _, last = item.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def format_list(numbers: Iterable[int]) -> str:
    """Write what ``parse_list`` reads."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def boot_nodes(root: Path = _ROOT) -> BootNodes:
    """Which nodes there are. A machine without NUMA is one node."""
    online = parse_list(_text(root / "online"))
    return BootNodes(online, parse_list(_text(root / "has_memory"))) if online else BootNodes(*[frozenset({0})] * 2)


def read_machine(root: Path = _ROOT) -> Machine:
    """Read all there is to show. A machine without NUMA has one node with all CPUs and all memory."""
    lists = {name: parse_list(_text(root / name)) for name in _LISTS}
    nodes = {node: _node_files(root / f"node{node}") for node in boot_nodes(root).online}
    if not lists["possible"]:
        only = frozenset({0})
        lists = dict.fromkeys(_LISTS, only) | {"has_generic_initiator": frozenset()}
        nodes = {0: _only_node()}
    return Machine(lists, nodes)


def _node_files(home: Path) -> dict[str, str]:
    files = {name: _text(home / name) for name in _FILES}
    for path in sorted(home.glob("hugepages/*/*_hugepages")):
        files[path.relative_to(home).as_posix()] = _text(path)
    return files


def _only_node() -> dict[str, str]:
    cpus = range(os.cpu_count() or 1)
    lines = re.findall(r"^(\w+(?:\(\w+\))?:)\s+(\d+ kB)$", _text(Path("/proc/meminfo")), re.MULTILINE)
    return {
        "cpulist": f"{format_list(cpus)}\n",
        "cpumap": f"{(1 << len(cpus)) - 1:x}\n",
        "distance": "10\n",
        "meminfo": "".join(f"Node 0 {name} {amount}\n" for name, amount in lines if name in ("MemTotal:", "MemFree:")),
        "numastat": "",
        "vmstat": "",
    }
