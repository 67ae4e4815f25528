"""Devices as memory: what kmem adds, how blocks go online and offline, and what stays for ever."""

from __future__ import annotations

import errno

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.flavour import FLAVOURS
from daxemu.kernel.memory import MEMORY_BLOCK_SIZE, MOVABLE, NORMAL, STATES, MemoryBlock
from daxemu.kernel.providers import find_provider

from .fakes import BLOCK, REGION_START, FakePorts, G, M, errno_of, fake_ports

FIRST = REGION_START // MEMORY_BLOCK_SIZE


def machine(flavour: str = "6.12", policy: str | None = "offline") -> DaxCore:
    core = DaxCore(FakePorts(), flavour=FLAVOURS[flavour])
    core.boot()
    if policy is not None:
        core.memory.set_auto_online(policy)
    return core


def memory_device(
    core: DaxCore, provider: str = "hmem", *, start: int = REGION_START, size: int = G, **options
) -> DevDax:
    options = {"driver": "kmem"} | options
    region = core.add_region(find_provider(provider), start=start, size=size, align=BLOCK, **options)
    return region.children[f"dax{region.id}.0"]


def blocks(core: DaxCore) -> list[MemoryBlock]:
    return [core.memory.blocks[index] for index in sorted(core.memory.blocks)]


def zones(core: DaxCore) -> list[list[str]]:
    return [block.valid_zones for block in blocks(core)]


def log(core: DaxCore) -> list[str]:
    return [text for _, text in fake_ports(core).kmsg]


# -- hot-add ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flavour", "zone"), [("6.1", None), ("6.12", NORMAL)])
def test_new_blocks_are_what_debians_kernels_make_of_them(flavour: str, zone: str | None):
    core = machine(flavour, policy=None)
    memory_device(core)
    assert [block.name for block in blocks(core)] == [f"memory{FIRST + n}" for n in range(8)]
    assert {block.zone for block in blocks(core)} == {zone}


@pytest.mark.parametrize(
    ("policy", "zone"), [("offline", None), ("online", NORMAL), ("online_kernel", NORMAL), ("online_movable", MOVABLE)]
)
def test_new_blocks_follow_the_policy(policy: str, zone: str | None):
    core = machine(policy=policy)
    memory_device(core)
    assert {block.zone for block in blocks(core)} == {zone}


def test_a_policy_is_one_of_four_words():
    core = machine()
    for policy in STATES:
        assert errno_of(core.memory.set_auto_online, policy) is None
    for policy in ("", "1", "on", "online ", "Online"):
        assert errno_of(core.memory.set_auto_online, policy) == errno.EINVAL
    assert core.memory.auto_online == STATES[-1]


def test_a_block_that_lies_only_partly_in_the_device_is_left_out():
    core = machine()
    memory_device(core, start=REGION_START + 64 * M, size=960 * M)
    assert [block.index - FIRST for block in blocks(core)] == list(range(1, 8))


def test_a_range_too_small_for_a_block_is_told_of_and_left_out():
    core = machine()
    device = memory_device(core, size=G, idle=True)
    device.add_range(REGION_START, REGION_START + 64 * M - 1)
    device.add_range(REGION_START + 128 * M, REGION_START + 256 * M - 1)
    core.bus.bind(device, "kmem")
    assert [block.index - FIRST for block in blocks(core)] == [1]
    assert log(core) == ["kmem dax0.0: mapping0: 0x10000000000-0x10003ffffff too small after alignment"]


def test_a_device_without_a_whole_block_does_not_become_memory():
    core = machine()
    device = memory_device(core, size=64 * M, driver="none")
    assert errno_of(core.bus.bind, device, "kmem") == errno.EINVAL
    assert log(core) == [
        "kmem dax0.0: mapping0: 0x10000000000-0x10003ffffff too small after alignment",
        "kmem dax0.0: rejecting DAX region without any memory after alignment",
        "kmem dax0.0: probe with driver kmem failed with error -22",
    ]


def test_linux_6_1_words_a_failing_probe_differently():
    core = machine("6.1")
    device = memory_device(core, size=64 * M, driver="none")
    assert errno_of(core.bus.bind, device, "kmem") == errno.EINVAL
    assert log(core)[-1] == "kmem: probe of dax0.0 failed with error -22"


def test_a_node_appears_with_its_first_block_and_goes_with_its_last():
    core = machine()
    region = core.add_region(
        find_provider("hmem"), start=REGION_START, size=256 * M, align=BLOCK, target_node=3, driver="none"
    )
    device = region.children["dax0.0"]
    assert core.memory.nodes == [0, 1]
    core.bus.bind(device, "kmem")
    assert core.memory.nodes == [0, 1, 3]
    assert {block.node for block in blocks(core)} == {3}
    core.bus.unbind(device)
    assert core.memory.nodes == [0, 1]
    told = [
        (event.action, event.sys_name) for event in fake_ports(core).uevents if event.subsystem in ("node", "memory")
    ]
    assert told == [
        ("add", "node3"),
        ("add", f"memory{FIRST}"),
        ("add", f"memory{FIRST + 1}"),
        ("remove", f"memory{FIRST}"),
        ("remove", f"memory{FIRST + 1}"),
        ("remove", "node3"),
    ]


# -- online, offline ----------------------------------------------------------------------------


def test_a_block_goes_online_once_and_offline_once():
    core = machine()
    memory_device(core)
    memory, block = core.memory, blocks(core)[0]
    assert block.valid_zones == [NORMAL, MOVABLE]
    assert memory.online(block, "online_movable")
    assert block.valid_zones == [MOVABLE]
    for how in STATES[1:]:
        assert not memory.online(block, how)
    assert block.zone == MOVABLE
    assert memory.offline(block)
    assert not memory.offline(block)
    assert block.valid_zones == [NORMAL, MOVABLE]
    told = [event.action for event in fake_ports(core).uevents if event.sys_name == block.name]
    assert told == ["add", "online", "offline"]


def test_a_block_between_movable_ones_goes_there_by_itself():
    """Node 1 has no memory of its own, so that nothing is in zone Normal."""
    core = machine()
    region = core.add_region(
        find_provider("hmem"), start=REGION_START, size=G, align=BLOCK, target_node=1, driver="kmem"
    )
    assert region.target_node == 1
    a, b, c, d, *_ = blocks(core)
    core.memory.online(a, "online_movable")
    assert b.valid_zones == [NORMAL, MOVABLE]
    core.memory.online(c, "online_movable")
    assert b.valid_zones == [MOVABLE, NORMAL]
    assert d.valid_zones == [NORMAL, MOVABLE]
    assert fake_ports(core).shown[b.name] == b.valid_zones, "who looks on is told of that too"
    core.memory.online(b)
    assert b.zone == MOVABLE


def test_a_block_that_both_zones_span_goes_to_normal():
    core = machine()
    memory_device(core)  # node 0 booted with memory, far below
    a, b, c, d, *_ = blocks(core)
    core.memory.online(a, "online_movable")
    core.memory.online(c, "online_movable")
    assert b.valid_zones == [MOVABLE, NORMAL]
    core.memory.online(d, "online_kernel")
    assert b.valid_zones == [NORMAL, MOVABLE]
    core.memory.offline(d)
    assert b.valid_zones == [MOVABLE, NORMAL]


# -- hot-remove ---------------------------------------------------------------------------------


def test_offline_memory_goes_with_the_driver_and_comes_back():
    core = machine()
    device = memory_device(core)
    core.bus.unbind(device)
    assert not core.memory.blocks
    core.bus.bind(device, "kmem")
    assert len(core.memory.blocks) == 8
    core.bus.unbind(device)
    core.bus.bind(device)
    assert device.alive


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_memory_that_is_online_stays_until_the_next_reboot(flavour: str):
    core = machine(flavour)
    device = memory_device(core)
    fake_ports(core).kmsg.clear()
    block = blocks(core)[0]
    core.memory.online(block, "online_movable")

    core.bus.unbind(device)
    assert device.driver is None
    assert len(core.memory.blocks) == 8, "all of the range stays, not only what is online"
    assert log(core) == [
        "removing memory fails, because memory [0x0000010000000000-0x0000010007ffffff] is onlined",
        "kmem dax0.0: mapping0: 0x10000000000-0x1003fffffff cannot be hotremoved until the next reboot",
    ]
    core.memory.offline(block)
    assert errno_of(core.bus.bind, device, "kmem") == errno.EBUSY
    assert log(core)[2] == "kmem dax0.0: mapping0: 0x10000000000-0x1003fffffff could not reserve region"
    assert core.memory.online(block, "online_kernel"), "the blocks can still be used"


@pytest.mark.parametrize(
    ("provider", "again", "why"),
    [
        ("hmem", errno.EINVAL, "dynamic-dax with pre-populated page map"),
        ("pmem", errno.EBUSY, "mapping0: 0x10000000000-0x1003fffffff could not reserve range"),
    ],
)
def test_device_dax_does_not_get_what_is_still_memory(provider: str, again: int, why: str):
    core = machine(policy="online")
    device = memory_device(core, provider)
    core.bus.unbind(device)
    assert errno_of(core.bus.bind, device) == errno.EBUSY
    assert errno_of(core.bus.bind, device) == again
    assert log(core)[-2] == f"device_dax dax0.0: {why}"


def test_of_several_ranges_only_those_stay_that_are_online():
    core = machine()
    device = memory_device(core, idle=True)
    device.add_range(REGION_START, REGION_START + 256 * M - 1)
    device.add_range(REGION_START + 512 * M, REGION_START + 768 * M - 1)
    core.bus.bind(device, "kmem")
    core.memory.online(core.memory.blocks[FIRST + 5])
    core.bus.unbind(device)
    assert [block.index - FIRST for block in blocks(core)] == [4, 5]

    core.bus.bind(device, "kmem")
    assert [block.index - FIRST for block in blocks(core)] == [0, 1, 4, 5], "a later range in use is left out"
    assert log(core)[-1].endswith("mapping1: 0x10020000000-0x1002fffffff could not reserve region")
    core.bus.unbind(device)
    assert [block.index - FIRST for block in blocks(core)] == [4, 5]


def test_a_first_range_in_use_fails_the_whole():
    core = machine()
    device = memory_device(core, idle=True)
    device.add_range(REGION_START, REGION_START + 256 * M - 1)
    device.add_range(REGION_START + 512 * M, REGION_START + 768 * M - 1)
    core.bus.bind(device, "kmem")
    core.memory.online(core.memory.blocks[FIRST])
    core.bus.unbind(device)
    assert errno_of(core.bus.bind, device, "kmem") == errno.EBUSY
    assert [block.index - FIRST for block in blocks(core)] == [0, 1]


def test_memory_outlives_its_region():
    core = machine(policy="online")
    device = memory_device(core)
    core.remove_region(device.region)
    assert len(core.memory.blocks) == 8
    again = memory_device(core, driver="none")
    assert errno_of(core.bus.bind, again, "kmem") == errno.EBUSY


def test_a_range_appended_while_the_device_is_memory_is_not_touched():
    core = machine()
    device = memory_device(core, idle=True)
    device.add_range(REGION_START, REGION_START + 256 * M - 1)
    core.bus.bind(device, "kmem")
    device.add_range(REGION_START + 512 * M, REGION_START + 768 * M - 1)
    assert len(core.memory.blocks) == 2
    core.bus.unbind(device)
    assert not core.memory.blocks
