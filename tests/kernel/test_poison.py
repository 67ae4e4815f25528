"""Broken memory: kept by physical address, in sectors; lost by the block of the alignment."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daxemu.kernel.badblocks import Badblocks
from daxemu.kernel.file import BusError
from daxemu.kernel.providers import find_provider
from tests.kernel.fakes import BLOCK, MAP_AT, REGION_START, M, booted, errno_of, fake_ports, mapped

SIZE = 64


@given(st.lists(st.tuples(st.booleans(), st.integers(0, SIZE - 1), st.integers(1, 16))))
def test_badblocks_are_a_set_of_addresses(steps):
    badblocks, expected = Badblocks(), set()
    for add, start, length in steps:
        end = min(start + length, SIZE)
        (badblocks.add if add else badblocks.clear)(start, end)
        (expected.update if add else expected.difference_update)(range(start, end))
    assert {at for start, end in badblocks.parts for at in range(start, end)} == expected
    starts = [start for start, _ in badblocks.parts]
    ends = [end for _, end in badblocks.parts]
    assert all(start < end for start, end in badblocks.parts)
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False))


@pytest.fixture
def region():
    core = booted()
    return core.add_region(find_provider("hmem"), start=REGION_START, size=64 * M, align=BLOCK, idle=True)


def make(region, size):
    return region.core.create_device(region, size)


def test_whole_sectors_are_broken_and_whole_blocks_lost(region):
    device = make(region, 16 * M)
    device.set_poison(4 * M + 700, 1, poisoned=True)
    assert device.poison == [(4 * M + 512, 4 * M + 1024)]
    assert device.poisoned_blocks == [(4 * M, 6 * M)]
    device.set_poison(4 * M + 1024, 3 * M, poisoned=True)
    assert device.poison == [(4 * M + 512, 7 * M + 1024)]
    assert device.poisoned_blocks == [(4 * M, 8 * M)]
    device.set_poison(5 * M, 512, poisoned=False)
    assert device.poison == [(4 * M + 512, 5 * M), (5 * M + 512, 7 * M + 1024)]
    device.set_poison(0, device.size, poisoned=False)
    assert device.poison == device.poisoned_blocks == []


def test_a_touch_is_a_machine_check_told_by_its_block(region):
    device = make(region, 16 * M)
    vma = mapped(device)
    vma.touch(MAP_AT + 4 * M)
    device.set_poison(4 * M + 512, 512, poisoned=True)
    for address in (MAP_AT + 4 * M, MAP_AT + 6 * M - 1):
        with pytest.raises(BusError) as caught:
            vma.touch(address)
        assert (caught.value.address, caught.value.lsb) == (MAP_AT + 4 * M, 21)
    vma.touch(MAP_AT + 4 * M - 1)
    vma.touch(MAP_AT + 6 * M)
    device.kill()
    with pytest.raises(BusError) as caught:
        vma.touch(MAP_AT + 4 * M + 5)
    assert (caught.value.address, caught.value.lsb) == (MAP_AT + 4 * M + 5, None)


def test_it_is_the_memory_that_is_broken(region):
    first = make(region, 8 * M)
    first.set_poison(6 * M, 512, poisoned=True)
    core = region.core
    core.bus.unbind(first)
    first.resize(4 * M)
    assert first.poison == []
    second = make(region, 8 * M)
    assert second.ranges[0].start == REGION_START + 4 * M
    assert second.poison == [(2 * M, 2 * M + 512)]
    second.set_poison(0, second.size, poisoned=False)
    first.resize(4 * M)
    assert region.badblocks.parts == []


def test_a_device_of_several_ranges_shows_its_own_offsets(region):
    core = region.core
    first, middle = make(region, 4 * M), make(region, 4 * M)
    core.bus.unbind(first)
    first.resize(8 * M)
    assert len(first.ranges) == 2
    first.set_poison(4 * M - 512, 1024, poisoned=True)
    assert first.poison == [(4 * M - 512, 4 * M + 512)]
    assert middle.poison == []
    assert region.badblocks.parts == [
        (REGION_START + 4 * M - 512, REGION_START + 4 * M),
        (REGION_START + 8 * M, REGION_START + 8 * M + 512),
    ]


@pytest.mark.parametrize(("offset", "length"), [(-1, 512), (0, 0), (0, -1), (16 * M, 1), (0, 16 * M + 1)])
def test_what_is_not_of_the_device_is_refused(region, offset, length):
    device = make(region, 16 * M)
    assert errno_of(device.set_poison, offset, length, poisoned=True) == errno.EINVAL
    assert region.badblocks.parts == []


def test_a_removed_device_is_refused(region):
    make(region, 2 * M)
    device = make(region, 2 * M)
    region.core.remove_device(device)
    assert errno_of(device.set_poison, 0, 1, poisoned=True) == errno.ENODEV


def test_a_failure_leaves_what_was(region, monkeypatch):
    device = make(region, 16 * M)
    device.set_poison(0, 512, poisoned=True)
    ports = fake_ports(region.core)
    publish, failed = ports.publish, []

    def fail_once(event):
        publish(event)
        if not failed:
            failed.append(event)
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(ports, "publish", fail_once)
    with pytest.raises(OSError, match="no room"):
        device.set_poison(4 * M, 512, poisoned=True)
    assert device.poison == [(0, 512)]
    assert ports.events[-2:] == [f"poison {device.name}"] * 2
