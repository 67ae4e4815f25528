"""Surprise removal from a dynamic region, and return."""

import errno

import pytest

from daxemu.kernel.file import BusError
from daxemu.kernel.hotplug import plug_device, unplug_device

from .fakes import BLOCK, REGION_START, errno_of, mapped, opened, snapshot


def _places(device):
    return [(piece.start, piece.end, piece.pgoff) for piece in device.ranges]


def test_it_returns_as_it_was(core, region, device):
    core.create_device(region, BLOCK)
    device_name, number, align, places = device.name, device.id, device.align, _places(device)

    returned = plug_device(unplug_device(device))

    assert (returned.name, returned.id, returned.align, _places(returned)) == (device_name, number, align, places)
    assert returned is not device
    assert returned.alive
    assert not device.registered


def test_several_pieces_return_in_their_order(core, region):
    first, second = core.create_device(region, BLOCK), core.create_device(region, BLOCK)
    core.bus.unbind(first)
    first.resize(2 * BLOCK)
    core.bus.bind(first)
    places = _places(first)
    assert len(places) == 2
    core.remove_device(second)

    assert _places(plug_device(unplug_device(first))) == places


def test_meanwhile_nobody_gets_its_id_or_its_memory(core, region, device):
    available = region.available_size()

    absent = unplug_device(device)

    assert region.available_size() == available
    other = core.create_device(region, available)
    assert other.name != "dax0.1"
    assert all(piece.start >= REGION_START + 2 * BLOCK for piece in other.ranges)
    assert plug_device(absent).name == "dax0.1"


def test_an_open_device_returns_under_its_name_and_the_old_file_stays_dead(core, device):
    vma = mapped(device)
    vma.touch(vma.start)
    file = vma.file

    returned = plug_device(unplug_device(device))

    with pytest.raises(BusError):
        vma.touch(vma.start)
    assert errno_of(file.mmap, 1 << 40, BLOCK) == errno.ENXIO
    assert returned.name == "dax0.1"
    assert opened(returned).private_data is returned


def test_a_device_without_a_driver_returns_without(core, device):
    core.bus.unbind(device)

    assert plug_device(unplug_device(device)).driver is None


def test_into_a_region_that_is_gone_it_cannot_return(core, region, device):
    absent = unplug_device(device)
    core.remove_region(region)

    assert errno_of(plug_device, absent) == errno.ENODEV


def test_what_is_gone_cannot_be_unplugged(core, device):
    core.remove_device(device)

    assert errno_of(unplug_device, device) == errno.ENODEV


def test_a_return_that_fails_leaves_it_absent(core, region, device, monkeypatch):
    absent = unplug_device(device)
    before = snapshot(core)
    monkeypatch.setattr(core, "hand_over", lambda *_: (_ for _ in ()).throw(RuntimeError))

    with pytest.raises(RuntimeError):
        plug_device(absent)

    assert snapshot(core) == before
    monkeypatch.undo()
    assert plug_device(absent).size == 2 * BLOCK
