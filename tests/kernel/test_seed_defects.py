"""The ten defects of the 2016 change that daxemu starts from; none of them may come back."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.file import BusError, dax_open
from daxemu.kernel.providers import find_provider
from daxemu.kernel.pseudofs import S_DAX, DaxSuperBlock
from daxemu.kernel.ranges import PAGE_SIZE, DaxRange
from daxemu.kernel.region import DaxRegion

from .fakes import (
    BLOCK,
    MAP_AT,
    REGION_START,
    FakePorts,
    G,
    InjectedFault,
    Injector,
    booted,
    errno_of,
    injected,
    mapped,
    node,
    opened,
    snapshot,
)

AddRegion = Callable[..., DaxRegion]


def test_defect_1_device_number_used_before_it_is_set(core: DaxCore, region: DaxRegion):
    for _ in range(3):
        device = core.create_device(region, BLOCK)
        assert device.inode.i_rdev == device.devt
        assert core.super_block.iget(device.devt) is device.inode


def test_defect_2_kill_leaves_mappings_in_place(core: DaxCore, device: DevDax):
    vmas = [mapped(device), mapped(device, at=2 * MAP_AT)]
    for vma in vmas:
        vma.touch(vma.start)
    core.remove_device(device)
    for vma in vmas:
        assert vma.pages == {}
        with pytest.raises(BusError):
            vma.touch(vma.start)


@pytest.mark.parametrize("moment", ["before the page is looked up", "after the page is looked up"])
def test_defect_3_a_fault_that_sleeps_outlives_the_kill(device: DevDax, monkeypatch: pytest.MonkeyPatch, moment: str):
    vma = mapped(device)
    lookup = device.pgoff_to_phys

    def killed_on_the_way(pgoff: int, size: int) -> int | None:
        if moment.startswith("before"):
            device.kill()
            return lookup(pgoff, size)
        phys = lookup(pgoff, size)
        device.kill()
        return phys

    monkeypatch.setattr(device, "pgoff_to_phys", killed_on_the_way)
    with pytest.raises(BusError):
        vma.touch(MAP_AT)
    assert vma.pages == {}


def test_defect_4_only_a_page_of_a_huge_fault_is_checked_at_the_end_of_the_device(device: DevDax):
    vma = mapped(device, pgoff=1)
    vma.touch(MAP_AT)
    with pytest.raises(BusError):
        vma.touch(MAP_AT + BLOCK)
    assert vma.pages.keys() == {MAP_AT}


def test_defect_4_only_a_page_of_a_huge_fault_is_checked_at_the_end_of_a_range(core: DaxCore, add_region: AddRegion):
    region = add_region(blocks=2048)
    _, hole, _ = (core.create_device(region, blocks * BLOCK) for blocks in (1, 256, 1))
    core.bus.unbind(hole)
    hole.resize(0)
    device = core.create_device(region, 0, driver="none")
    device.align = G
    device.resize(G)
    assert [piece.size for piece in device.ranges] == [G // 2, G // 2]
    core.bus.bind(device)
    with pytest.raises(BusError):
        mapped(device).touch(MAP_AT)


def test_defect_4_the_mapping_is_not_checked_again_at_the_fault(core: DaxCore, add_region: AddRegion):
    device = add_region(align=4096, idle=False).children["dax0.0"]
    vma = mapped(device, 3 * 4096)
    vma.touch(MAP_AT)
    core.bus.unbind(device)
    device.align = BLOCK
    core.bus.bind(device)
    with pytest.raises(BusError):
        vma.touch(MAP_AT)


def test_defect_5_private_mappings_get_through(device: DevDax):
    assert errno_of(opened(device).mmap, MAP_AT, BLOCK, shared=False) == errno.EINVAL
    assert device.inode.i_mapping.i_mmap == []


def test_defect_6_inode_cache_destroyed_before_its_inodes(core: DaxCore, device: DevDax):
    core.remove_device(device)
    assert core.super_block._awaiting_rcu == []

    pending = DaxSuperBlock()
    pending.iput(pending.iget(device.devt))
    pending.unmount()
    assert pending._awaiting_rcu == []

    busy = DaxSuperBlock()
    busy.iget(device.devt)
    with pytest.raises(AssertionError, match="still in use"):
        busy.unmount()


def test_defect_7_a_device_gets_a_number_that_is_not_registered(add_region: AddRegion):
    core = booted(nr_dax=256)
    region = core.add_region(add_region().provider, start=REGION_START, size=300 * BLOCK, align=BLOCK, idle=True)
    devices = [core.create_device(region, BLOCK) for _ in range(255)]
    assert [device.devt.minor for device in devices] == list(range(1, 256))
    before = snapshot(core)
    assert errno_of(core.create_device, region, BLOCK) == errno.ENOSPC
    assert snapshot(core) == before
    core.remove_device(devices[100])
    assert core.create_device(region, BLOCK).devt == devices[100].devt


def test_defect_8_a_half_made_device_is_freed_under_its_references(
    core: DaxCore, region: DaxRegion, ports: FakePorts, monkeypatch: pytest.MonkeyPatch
):
    publish = ports.publish
    files = []

    def open_then_fail(event: object) -> None:
        publish(event)
        if event.action == "bind":
            files.append(opened(event.subject))
            raise InjectedFault

    before = snapshot(core)
    with monkeypatch.context() as patch:
        patch.setattr(ports, "publish", open_then_fail)
        with pytest.raises(InjectedFault):
            core.create_device(region, BLOCK)
    device = files[0].private_data
    assert device.kref == 1
    assert device.inode in core.super_block.inodes()
    assert device.devt.minor in core.minor_ida
    files[0].release()
    assert snapshot(core) == before


def test_defect_8_a_failed_create_does_not_release_the_device(core: DaxCore, region: DaxRegion):
    made: list[DevDax] = []
    initialize = core._initialize_device
    core._initialize_device = lambda *args: made.append(initialize(*args)) or made[-1]
    with injected(Injector(0, only="DaxCore._device_add")), pytest.raises(InjectedFault):
        core.create_device(region, BLOCK)
    assert (made[0].kref, made[0].id) == (0, -1)


@pytest.mark.parametrize(
    ("start", "end"), [(-BLOCK, -1), (16 * BLOCK, 17 * BLOCK - 1), (15 * BLOCK, 17 * BLOCK - 1), (0, BLOCK - 1)]
)
def test_defect_8_a_range_may_lie_outside_its_region_or_in_another(device: DevDax, start: int, end: int):
    piece = DaxRange("dax0.9", REGION_START + start, REGION_START + end)
    assert errno_of(device.region.resource.insert, piece) == errno.ENOMEM


@pytest.mark.parametrize(("start", "size"), [(REGION_START + 4096, BLOCK), (REGION_START, BLOCK + 4096)])
def test_defect_8_a_region_need_not_be_aligned(core: DaxCore, region: DaxRegion, start: int, size: int):
    before = snapshot(core)
    assert errno_of(core.add_region, region.provider, start=start, size=size, align=BLOCK) == errno.ENOMEM
    assert snapshot(core) == before


def test_defect_9_a_dead_device_can_be_opened(core: DaxCore, device: DevDax):
    device.kill()
    opener = node(device)
    assert errno_of(dax_open, core, opener) == errno.ENXIO
    assert opener.i_mapping is opener.i_data
    assert opener.i_flags == 0
    assert device.kref == 1


def test_defect_9_open_overwrites_the_openers_flags(core: DaxCore, device: DevDax):
    opener = node(device)
    opener.i_flags = 1 << 3
    dax_open(core, opener)
    assert opener.i_flags == 1 << 3 | S_DAX


def test_defect_9_openers_race_for_the_address_space(core: DaxCore, device: DevDax):
    openers = [node(device) for _ in range(3)]
    files = [dax_open(core, opener) for opener in openers * 2]
    assert {id(opener.i_mapping) for opener in openers} == {id(device.inode.i_data)}
    assert {id(file.f_mapping) for file in files} == {id(device.inode.i_data)}
    assert device.inode.i_data.host is device.inode


@settings(database=None, deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.data())
def test_defect_10_page_offsets_of_later_ranges_wrap(pieces: list[int], data: st.DataObject):
    core = booted()
    region = core.add_region(find_provider("hmem"), start=REGION_START, size=64 * BLOCK, align=BLOCK, idle=True)
    device, other = (core.create_device(region, 0, driver="none") for _ in range(2))
    for blocks in pieces:
        device.resize(device.size + blocks * BLOCK)
        other.resize(other.size + BLOCK)
    assert [piece.size for piece in device.ranges] == [blocks * BLOCK for blocks in pieces]

    memory = [phys for piece in device.ranges for phys in range(piece.start, piece.end, PAGE_SIZE)]
    size = data.draw(st.sampled_from([PAGE_SIZE, BLOCK]))
    for pgoff, phys in enumerate(memory):
        end = pgoff + size // PAGE_SIZE - 1
        whole = end < len(memory) and memory[end] == phys + size - PAGE_SIZE
        assert device.pgoff_to_phys(pgoff, size) == (phys if whole else None)
    for pgoff in (len(memory), len(memory) + 1, 1 << 40, -1):
        assert device.pgoff_to_phys(pgoff, size) is None


def test_defect_10_a_mapping_of_several_ranges_is_contiguous(core: DaxCore, region: DaxRegion):
    devices = [core.create_device(region, 0, driver="none") for _ in range(2)]
    for blocks in range(1, 5):
        for device in devices:
            device.resize(blocks * BLOCK)
    core.bus.bind(devices[1])
    vma = mapped(devices[1])
    reached = [vma.touch(MAP_AT + blocks * BLOCK + 7) for blocks in range(4)]
    assert reached == [piece.start + 7 for piece in devices[1].ranges]
