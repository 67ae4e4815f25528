from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.file import BusError, dax_open
from daxemu.kernel.ids import Devt
from daxemu.kernel.pseudofs import S_DAX, NodeInode
from daxemu.kernel.ranges import PAGE_SIZE
from daxemu.kernel.region import DaxRegion

from .fakes import BLOCK, MAP_AT, REGION_START, errno_of, mapped, node, opened

# -- open ---------------------------------------------------------------------------------------


def test_open_points_the_openers_inode_at_the_devices_address_space(core: DaxCore, device: DevDax):
    opener = node(device)
    dax_open(core, opener)
    assert opener.i_mapping is device.inode.i_mapping


def test_open_makes_the_device_inode_host_of_the_address_space(core: DaxCore, device: DevDax):
    opener = node(device)
    device.inode.i_mapping.host = opener
    dax_open(core, opener)
    assert opener.i_mapping.host is device.inode


def test_open_gives_the_file_the_devices_address_space(core: DaxCore, device: DevDax):
    file = opened(device)
    assert file.f_mapping is device.inode.i_mapping
    assert file.private_data is device


def test_open_marks_the_openers_inode_as_dax(core: DaxCore, device: DevDax):
    opener = node(device)
    dax_open(core, opener)
    assert opener.i_flags & S_DAX


def test_any_number_of_openers_through_any_nodes_share_one_address_space(core: DaxCore, device: DevDax):
    one = node(device)
    files = [dax_open(core, opener) for opener in (one, one, node(device), NodeInode(device.devt, 0o444))]
    assert {id(file.f_mapping) for file in files} == {id(device.inode.i_data)}
    assert device.kref == 5
    assert len(device.openers) == 3


def test_a_number_that_nobody_serves_cannot_be_opened(core: DaxCore):
    assert errno_of(dax_open, core, NodeInode(Devt(252, 77))) == errno.ENXIO
    assert errno_of(dax_open, core, NodeInode(Devt(1, 3))) == errno.ENXIO


def test_an_unbound_device_cannot_be_opened(core: DaxCore, device: DevDax):
    core.bus.unbind(device)
    assert errno_of(opened, device) == errno.ENXIO


def test_unbind_makes_every_node_forget_the_device(core: DaxCore, device: DevDax):
    nodes = [node(device), node(device)]
    for opener in nodes:
        dax_open(core, opener)
    core.bus.unbind(device)
    assert all(opener.i_mapping is opener.i_data for opener in nodes)
    assert device.openers == []


def test_a_forgotten_node_works_again_after_rebind(core: DaxCore, device: DevDax):
    opener = node(device)
    dax_open(core, opener)
    core.bus.unbind(device)
    core.bus.bind(device)
    assert dax_open(core, opener).f_mapping is device.inode.i_mapping


# -- mmap ---------------------------------------------------------------------------------------


def test_a_mapping_hangs_on_the_one_address_space_until_it_is_taken_away(device: DevDax):
    vma = mapped(device)
    assert device.inode.i_mapping.i_mmap == [vma]
    vma.munmap()
    assert device.inode.i_mapping.i_mmap == []


@pytest.mark.parametrize("length", [0, -BLOCK])
def test_a_mapping_has_a_length(device: DevDax, length: int):
    assert errno_of(opened(device).mmap, MAP_AT, length) == errno.EINVAL


@pytest.mark.parametrize(("start", "length"), [(4096, BLOCK), (0, 4096), (0, BLOCK + 4096), (BLOCK // 2, BLOCK)])
def test_both_ends_of_a_mapping_are_aligned(device: DevDax, start: int, length: int):
    assert errno_of(opened(device).mmap, MAP_AT + start, length) == errno.EINVAL


def test_a_dead_device_is_refused_before_anything_else(device: DevDax):
    file = opened(device)
    device.kill()
    assert errno_of(file.mmap, MAP_AT + 1, 1, shared=False) == errno.ENXIO


def test_neither_offset_nor_size_of_the_device_limit_a_mapping(device: DevDax):
    file = opened(device)
    for at, pgoff in enumerate((0, 1, 1 << 30)):
        file.mmap(MAP_AT + at * 64 * BLOCK, 64 * BLOCK, pgoff=pgoff)
    assert len(file.vmas) == 3


# -- fault --------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK - 1])
def test_a_touch_reaches_the_devices_memory(device: DevDax, offset: int):
    assert mapped(device).touch(MAP_AT + offset) == REGION_START + offset


def test_a_touch_faults_one_block_in(device: DevDax):
    vma = mapped(device)
    vma.touch(MAP_AT + BLOCK + 5)
    vma.touch(MAP_AT + BLOCK + 6)
    assert vma.pages == {MAP_AT + BLOCK: REGION_START + BLOCK}


def test_mappings_through_different_nodes_are_of_the_same_memory(device: DevDax):
    first, second = mapped(device), mapped(device, at=2 * MAP_AT)
    assert first.touch(MAP_AT + 5) == second.touch(2 * MAP_AT + 5)


def test_the_page_offset_says_where_a_mapping_begins(device: DevDax):
    vma = mapped(device, BLOCK, pgoff=BLOCK // PAGE_SIZE)
    assert vma.touch(MAP_AT) == REGION_START + BLOCK


def test_a_touch_past_the_device_is_sigbus_at_the_exact_address(device: DevDax):
    vma = mapped(device, 4 * BLOCK)
    vma.touch(MAP_AT + 2 * BLOCK - 1)
    with pytest.raises(BusError) as fault:
        vma.touch(MAP_AT + 2 * BLOCK + 123)
    assert fault.value.address == MAP_AT + 2 * BLOCK + 123
    assert vma.pages.keys() == {MAP_AT + BLOCK}


def test_an_offset_between_blocks_is_served_from_the_block_below(device: DevDax):
    vma = mapped(device, BLOCK, pgoff=1)
    assert vma.touch(MAP_AT) == REGION_START


@pytest.mark.parametrize("align", [4096, BLOCK])
def test_the_only_fault_size_is_the_alignment(add_region: Callable[..., DaxRegion], align: int):
    device = add_region(align=align, idle=False).children["dax0.0"]
    vma = mapped(device)
    vma.touch(MAP_AT)
    vma.touch(MAP_AT + BLOCK - 1)
    assert len(vma.pages) == (2 if align == 4096 else 1)


# -- revoke and revive --------------------------------------------------------------------------


def test_kill_revokes_every_mapping_of_every_node(device: DevDax):
    vmas = [mapped(device), mapped(device)]
    for vma in vmas:
        vma.touch(MAP_AT)
    device.kill()
    for vma in vmas:
        assert vma.pages == {}
        with pytest.raises(BusError):
            vma.touch(MAP_AT)


def test_a_revived_device_serves_old_mappings_from_the_same_memory(device: DevDax):
    vma = mapped(device)
    before = vma.touch(MAP_AT + 5)
    device.kill()
    device.run()
    assert vma.touch(MAP_AT + 5) == before


def test_a_rebound_device_serves_old_files_and_mappings(core: DaxCore, device: DevDax):
    vma = mapped(device)
    before = vma.touch(MAP_AT)
    core.bus.unbind(device)
    assert errno_of(vma.file.mmap, MAP_AT, BLOCK) == errno.ENXIO
    core.bus.bind(device)
    assert vma.touch(MAP_AT) == before
    assert vma.file.mmap(2 * MAP_AT, BLOCK).touch(2 * MAP_AT) == before


def test_what_a_shrink_cuts_off_is_gone_from_old_mappings(core: DaxCore, device: DevDax):
    vma = mapped(device)
    vma.touch(MAP_AT + BLOCK)
    core.bus.unbind(device)
    device.resize(BLOCK)
    core.bus.bind(device)
    assert vma.touch(MAP_AT) == REGION_START
    with pytest.raises(BusError):
        vma.touch(MAP_AT + BLOCK)


def test_what_a_grow_adds_is_there_in_old_mappings(core: DaxCore, device: DevDax):
    vma = mapped(device, 3 * BLOCK)
    core.bus.unbind(device)
    device.resize(3 * BLOCK)
    core.bus.bind(device)
    assert vma.touch(MAP_AT + 2 * BLOCK) == REGION_START + 2 * BLOCK


def test_unmapping_a_range_leaves_the_other_blocks(device: DevDax):
    vma = mapped(device)
    vma.touch(MAP_AT), vma.touch(MAP_AT + BLOCK)
    device.inode.i_mapping.unmap_mapping_range(BLOCK, 4096)
    assert vma.pages.keys() == {MAP_AT}


def test_unmapping_counts_from_the_start_of_the_device(device: DevDax):
    vma = mapped(device, BLOCK, pgoff=BLOCK // PAGE_SIZE)
    vma.touch(MAP_AT)
    device.inode.i_mapping.unmap_mapping_range(0, BLOCK)
    assert vma.pages.keys() == {MAP_AT}
    device.inode.i_mapping.unmap_mapping_range(BLOCK, BLOCK)
    assert vma.pages == {}


# -- release ------------------------------------------------------------------------------------


def test_release_takes_the_mappings_and_the_reference(device: DevDax):
    file = opened(device)
    file.mmap(MAP_AT, BLOCK), file.mmap(2 * MAP_AT, BLOCK)
    assert device.kref == 2
    file.release()
    assert device.inode.i_mapping.i_mmap == []
    assert device.kref == 1


def test_a_mapping_of_a_removed_device_is_dead_for_good(core: DaxCore, device: DevDax):
    vma = mapped(device)
    vma.touch(MAP_AT)
    core.remove_device(device)
    with pytest.raises(BusError):
        vma.touch(MAP_AT)
    vma.file.release()
