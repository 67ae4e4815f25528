"""A device as ordinary memory, from Python."""

from __future__ import annotations

import errno

import pytest

from daxemu import Engine, KernelError
from daxemu.kernel.memory import MEMORY_BLOCK_SIZE

FIRST = (1 << 44) // MEMORY_BLOCK_SIZE


@pytest.fixture
def engine():
    with Engine() as machine:
        machine.write_attribute("/sys/devices/system/memory/auto_online_blocks", "offline")
        yield machine


@pytest.fixture
def device(engine):
    """512 MiB, bound to kmem, all of it offline."""
    region = engine.add_region("512M", provider="hmem", target_node=2, driver="kmem", idle=False)
    return region.devices[0]


def test_memory_goes_online_and_offline(device):
    memory = device.memory
    assert (memory.node, memory.blocks) == (2, [f"memory{FIRST + n}" for n in range(4)])
    assert (memory.online_blocks, memory.is_movable) == (0, False)
    assert (memory.online(), memory.online()) == (4, 0)
    assert (memory.online_blocks, memory.is_movable) == (4, True)
    assert (memory.offline(), memory.offline()) == (4, 0)
    assert memory.online(movable=False) == 4
    assert not memory.is_movable


def test_a_device_that_is_none_has_no_memory(device):
    memory = device.memory
    device.unbind()
    assert device.memory is None
    assert memory.blocks == []
    device.bind()
    assert (device.memory, device.alive) == (None, True)


def test_unbinding_what_is_online_loses_it_as_on_hardware(device):
    device.memory.online()
    device.unbind()
    with pytest.raises(KernelError) as refused:
        device.bind("kmem")
    assert refused.value.errno == errno.EBUSY


@pytest.mark.parametrize("online", [True, False])
def test_resize_and_destroy_take_memory_offline_first(engine, device, online):
    if online:
        device.memory.online()
    device.resize("256M")
    assert len(device.memory.blocks) == 2
    device.destroy()
    again = device.region.create_device()
    assert again.alive
