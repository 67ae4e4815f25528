from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.ranges import PAGE_SIZE, DaxRange, RangeTree, device_ranges_size
from daxemu.kernel.region import DaxRegion

from .fakes import BLOCK, errno_of

START = 1 << 40


def tree(blocks: int = 8) -> RangeTree:
    return RangeTree(START, START + blocks * BLOCK - 1)


def block(first: int, last: int | None = None, owner: str = "other") -> DaxRange:
    return DaxRange(owner, START + first * BLOCK, START + ((first if last is None else last) + 1) * BLOCK - 1)


def blocks_of(ranges: list[DaxRange]) -> list[tuple[int, int]]:
    """(first block, number of blocks) of each range, in the device's order."""
    return [((piece.start - START) // BLOCK, piece.size // BLOCK) for piece in ranges]


def grow(space: RangeTree, ranges: list[DaxRange], blocks: int) -> None:
    need = blocks * BLOCK
    while need:
        need -= space.grow_step("mine", ranges, need)


def test_a_range_knows_its_size_in_bytes_and_pages():
    piece = block(0, 1)
    assert piece.size == 2 * BLOCK
    assert piece.pages == 2 * BLOCK // PAGE_SIZE
    assert device_ranges_size([piece, block(5)]) == 3 * BLOCK


def test_children_are_kept_by_address():
    space = tree()
    pieces = [block(4), block(0), block(2)]
    for piece in pieces:
        space.insert(piece)
    assert space.children() == (pieces[1], pieces[2], pieces[0])
    assert space.available() == 5 * BLOCK


@pytest.mark.parametrize(
    "piece",
    [block(2), block(2, 3), block(1, 2), block(1, 4), block(0, 7)],
    ids=["same", "over its start", "over its end", "around", "all"],
)
def test_a_range_that_overlaps_another_is_refused(piece: DaxRange):
    space = tree()
    space.insert(block(2, 3))
    assert errno_of(space.insert, piece) == errno.ENOMEM
    assert len(space.children()) == 1


@pytest.mark.parametrize("piece", [block(-1), block(8), block(7, 8), block(-1, 0), block(3, 1)])
def test_a_range_outside_the_region_is_refused(piece: DaxRange):
    space = tree()
    assert errno_of(space.insert, piece) == errno.ENOMEM
    assert space.children() == ()


def test_only_the_very_range_is_removed():
    space = tree()
    space.insert(block(0))
    with pytest.raises(AssertionError, match="is not in the tree"):
        space.remove(block(0))


def test_an_empty_region_is_filled_from_its_start():
    ranges: list[DaxRange] = []
    grow(tree(), ranges, 3)
    assert blocks_of(ranges) == [(0, 3)]


def test_the_last_range_is_extended_in_place():
    space, ranges = tree(), []
    grow(space, ranges, 1)
    grow(space, ranges, 2)
    assert blocks_of(ranges) == [(0, 3)]


def test_a_gap_before_the_first_child_becomes_a_range_of_its_own_even_before_our_own():
    space, ranges = tree(), []
    other = block(0, 1)
    space.insert(other)
    grow(space, ranges, 2)
    space.remove(other)
    grow(space, ranges, 2)
    assert blocks_of(ranges) == [(2, 2), (0, 2)]
    assert [piece.pgoff for piece in ranges] == [0, 2 * BLOCK // PAGE_SIZE]


def test_only_the_last_range_by_page_offset_is_extended():
    space, ranges = tree(), []
    others = [block(0), block(2)]
    for other in others:
        space.insert(other)
    grow(space, ranges, 2)
    assert blocks_of(ranges) == [(1, 1), (3, 1)]
    space.remove(others[1])
    grow(space, ranges, 1)
    assert blocks_of(ranges) == [(1, 1), (3, 1), (2, 1)]


def test_growth_takes_the_first_gaps_by_address():
    space, ranges = tree(), []
    for first in (0, 2, 5):
        space.insert(block(first))
    grow(space, ranges, 4)
    assert blocks_of(ranges) == [(1, 1), (3, 2), (6, 1)]


def test_a_full_region_answers_enospc():
    space, ranges = tree(), []
    grow(space, ranges, 8)
    assert errno_of(space.grow_step, "mine", ranges, BLOCK) == errno.ENOSPC
    assert space.available() == 0


def test_shrinking_drops_whole_ranges_and_trims_the_last():
    space, ranges = tree(), []
    for first in (0, 2, 5):
        space.insert(block(first))
    grow(space, ranges, 5)
    dropped = space.shrink(ranges, 2 * BLOCK)
    assert blocks_of(ranges) == [(1, 1), (3, 1)]
    assert blocks_of(dropped) == [(6, 2)]
    assert space.available() == 3 * BLOCK


def test_what_a_shrink_frees_is_there_for_others():
    space, ranges = tree(), []
    grow(space, ranges, 8)
    space.shrink(ranges, 3 * BLOCK)
    space.insert(block(3, 7))
    assert space.available() == 0


@pytest.mark.parametrize("rounds", [1, 4, 8])
def test_two_devices_that_grow_in_turn_interleave(core: DaxCore, region: DaxRegion, rounds: int):
    devices = [core.create_device(region, 0, driver="none") for _ in range(2)]
    for size in range(1, rounds + 1):
        for device in devices:
            device.resize(size * BLOCK)
    for device in devices:
        assert len(device.ranges) == rounds
        assert [piece.mapping_id for piece in device.ranges] == list(range(rounds))
    assert region.available_size() == (16 - 2 * rounds) * BLOCK


def test_mapping_ids_are_the_lowest_free_ones(core: DaxCore, region: DaxRegion):
    first, second = (core.create_device(region, 0, driver="none") for _ in range(2))
    for size in (1, 2):
        for device in (first, second):
            device.resize(size * BLOCK)
    first.resize(BLOCK)
    first.resize(3 * BLOCK)
    assert blocks_of(first.ranges) == [(0, 1), (2, 1), (4, 1)]
    assert [piece.mapping_id for piece in first.ranges] == [0, 1, 2]


@settings(database=None, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), max_size=20))
def test_ranges_of_any_devices_partition_the_region(sizes: list[tuple[int, int]]):
    space = tree(16)
    owners: list[list[DaxRange]] = [[], [], []]
    for owner, blocks in sizes:
        ranges, wanted = owners[owner], blocks * BLOCK
        have = device_ranges_size(ranges)
        if wanted < have:
            space.shrink(ranges, wanted)
        elif wanted - have <= space.available():
            grow(space, ranges, (wanted - have) // BLOCK)
        pieces = sorted((piece for ranges in owners for piece in ranges), key=lambda piece: piece.start)
        assert list(space.children()) == pieces
        assert all(before.end < after.start for before, after in pairwise(pieces))
        assert space.available() + device_ranges_size(pieces) == 16 * BLOCK
        for ranges in owners:
            assert [piece.pgoff for piece in ranges] == [
                device_ranges_size(ranges[:at]) // PAGE_SIZE for at in range(len(ranges))
            ]


def test_a_device_resized_to_nothing_and_back_keeps_no_trace(device: DevDax):
    device.core.bus.unbind(device)
    for blocks in (0, 5, 1, 0, 2):
        device.resize(blocks * BLOCK)
        assert device.size == device.backing.size == blocks * BLOCK
    assert len(device.mapping_ida) == 1
