"""Which nodes the machine has, and how they are shown with the memory that was added."""

from __future__ import annotations

from pathlib import Path

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.memory import NumaNode
from daxemu.kernel.providers import find_provider
from daxemu.sysfs.machine import boot_nodes, format_list, parse_list, read_machine
from daxemu.sysfs.memory import node_tree, nodes_tree
from tests.kernel.fakes import BLOCK, REGION_START, FakePorts

MIB = 1 << 20
FILES = {
    "online": "0-1\n",
    "possible": "0-3\n",
    "has_cpu": "0\n",
    "has_memory": "0\n",
    "has_normal_memory": "0\n",
    "has_generic_initiator": "\n",
    "node0/cpulist": "0-3\n",
    "node0/cpumap": "00000000,0000000f\n",
    "node0/distance": "10 21\n",
    "node0/meminfo": "Node 0 MemTotal:        1000 kB\n"
    "Node 0 MemFree:          900 kB\n"
    "Node 0 HugePages_Total:     2\n",
    "node0/numastat": "numa_hit 77\n",
    "node0/vmstat": "nr_free_pages 225\nnr_other 5\n",
    "node0/hugepages/hugepages-2048kB/nr_hugepages": "2\n",
    "node1/cpulist": "\n",
    "node1/cpumap": "00000000,00000000\n",
    "node1/distance": "21 10\n",
    "node1/meminfo": "Node 1 MemTotal:           0 kB\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two nodes, the second without memory, as FakePorts says too."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def core() -> DaxCore:
    """256 MiB were added to node 0, and as much to node 2, which the machine does not have."""
    core = DaxCore(FakePorts())
    core.boot()
    for node in (0, 2):
        core.add_region(
            find_provider("hmem"),
            start=REGION_START * (1 + node),
            size=256 * MIB,
            align=BLOCK,
            target_node=node,
            driver="kmem",
        )
    return core


@pytest.mark.parametrize(
    ("text", "numbers"), [("\n", []), ("0\n", [0]), ("0-2,5\n", [0, 1, 2, 5]), ("1,3-4,7-9", [1, 3, 4, 7, 8, 9])]
)
def test_lists_are_read_and_written_as_the_kernel_does(text: str, numbers: list[int]):
    assert parse_list(text) == frozenset(numbers)
    assert format_list(numbers) == text.strip()


def test_the_nodes_are_those_that_are_online(root):
    assert boot_nodes(root) == ({0, 1}, {0})
    assert set(read_machine(root).nodes) == {0, 1}


def test_a_machine_without_numa_is_one_node(tmp_path):
    assert boot_nodes(tmp_path) == ({0}, {0})
    machine = read_machine(tmp_path)
    assert machine.lists["has_memory"] == machine.lists["possible"] == {0}
    assert machine.nodes[0]["cpulist"].startswith("0")
    assert machine.nodes[0]["meminfo"].startswith("Node 0 MemTotal: ")


def test_lists_have_the_machines_nodes_and_those_that_were_added(root, core):
    tree = nodes_tree(core.memory, read_machine(root))
    shown = {path.rpartition("/")[2]: entry.text for path, entry in tree.items()}
    assert shown["online"] == "0-2\n"
    assert shown["possible"] == "0-3\n"
    assert shown["has_cpu"] == "0\n"
    assert shown["has_memory"] == shown["has_normal_memory"] == "0,2\n"


@pytest.mark.parametrize(
    ("node", "name", "text"),
    [
        (0, "cpulist", "0-3\n"),
        (0, "distance", "10 21 20\n"),
        (0, "numastat", "numa_hit 77\n"),
        (0, "vmstat", "nr_free_pages 65761\nnr_other 5\n"),
        (0, "hugepages/hugepages-2048kB/nr_hugepages", "2\n"),
        (1, "distance", "21 10 20\n"),
        (1, "meminfo", "Node 1 MemTotal:           0 kB\n"),
        (2, "cpulist", "\n"),
        (2, "cpumap", "00000000,00000000\n"),
        (2, "distance", "20 20 10\n"),
        (2, "numastat", "numa_hit 0\n"),
        (2, "vmstat", "nr_free_pages 65536\nnr_other 0\n"),
        (2, "hugepages/hugepages-2048kB/nr_hugepages", "0\n"),
    ],
)
def test_a_node_is_shown_with_what_was_added(root, core, node: int, name: str, text: str):
    tree = node_tree(NumaNode(core.memory, node), read_machine(root))
    assert tree[f"sys/devices/system/node/node{node}/{name}"].text == text


def test_added_memory_is_counted_while_it_is_online(root, core):
    def meminfo(node: int) -> list[str]:
        tree = node_tree(NumaNode(core.memory, node), read_machine(root))
        return tree[f"sys/devices/system/node/node{node}/meminfo"].text.splitlines()

    assert meminfo(0)[:2] == ["Node 0 MemTotal:      263144 kB", "Node 0 MemFree:       263044 kB"]
    assert meminfo(2) == [
        "Node 2 MemTotal:      262144 kB",
        "Node 2 MemFree:       262144 kB",
        "Node 2 HugePages_Total:     0",
    ]
    for block in core.memory.blocks_of(0):
        core.memory.offline(block)
    assert meminfo(0)[:2] == ["Node 0 MemTotal:        1000 kB", "Node 0 MemFree:          900 kB"]
