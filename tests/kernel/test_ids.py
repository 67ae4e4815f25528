from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxemu.kernel.core import DaxCore
from daxemu.kernel.ids import MINORMASK, NR_DAX_MIN, CharDevices, Devt, Ida

from .fakes import FakePorts, errno_of


def test_an_ida_hands_out_the_lowest_free_number():
    ida = Ida(10, "things")
    assert [ida.alloc() for _ in range(4)] == [0, 1, 2, 3]
    ida.free(2)
    ida.free(0)
    assert [ida.alloc() for _ in range(3)] == [0, 2, 4]


def test_an_exhausted_ida_answers_enospc_until_a_number_comes_back():
    ida = Ida(2, "things")
    ida.alloc(), ida.alloc()
    assert errno_of(ida.alloc) == errno.ENOSPC
    ida.free(1)
    assert ida.alloc() == 1


def test_an_ida_knows_what_is_in_use():
    ida = Ida(10, "things")
    ida.alloc()
    assert len(ida) == 1
    assert 0 in ida
    assert 1 not in ida


def test_a_number_cannot_be_freed_twice():
    ida = Ida(10, "things")
    ida.free(ida.alloc())
    with pytest.raises(KeyError):
        ida.free(0)


@settings(database=None, deadline=None)
@given(st.lists(st.none() | st.integers(0, 20)))
def test_an_ida_never_hands_out_a_number_twice(steps: list[int | None]):
    ida, used = Ida(16, "things"), set[int]()
    for freed in steps:
        if freed is None and len(used) < 16:
            lowest = min(set(range(16)) - used)
            assert ida.alloc() == lowest
            used.add(lowest)
        elif freed in used:
            ida.free(freed)
            used.remove(freed)
        assert len(ida) == len(used)


def test_a_device_number_has_the_kernels_encoding():
    assert int(Devt(252, 3)) == 252 << 20 | 3
    assert str(Devt(252, 3)) == "252:3"


@pytest.fixture
def chrdevs() -> CharDevices:
    chrdevs = CharDevices()
    chrdevs.register_region(252, 256, "dax")
    return chrdevs


def test_a_registered_number_leads_to_its_character_device(chrdevs: CharDevices):
    cdev = object()
    chrdevs.add(Devt(252, 255), cdev)
    assert chrdevs.lookup(Devt(252, 255)) is cdev


def test_a_number_leads_nowhere_before_it_is_added_and_after_it_is_removed(chrdevs: CharDevices):
    devt = Devt(252, 0)
    assert errno_of(chrdevs.lookup, devt) == errno.ENXIO
    chrdevs.add(devt, object())
    chrdevs.remove(devt)
    assert errno_of(chrdevs.lookup, devt) == errno.ENXIO


@pytest.mark.parametrize("devt", [Devt(252, 256), Devt(251, 0)])
def test_a_number_outside_the_registered_region_is_refused(chrdevs: CharDevices, devt: Devt):
    assert errno_of(chrdevs.add, devt, object()) == errno.ENXIO


def test_a_number_has_one_character_device(chrdevs: CharDevices):
    chrdevs.add(Devt(252, 0), object())
    assert errno_of(chrdevs.add, Devt(252, 0), object()) == errno.EBUSY


def test_a_major_belongs_to_one_driver(chrdevs: CharDevices):
    assert errno_of(chrdevs.register_region, 252, 1, "other") == errno.EBUSY


def test_a_major_has_no_more_than_a_million_minors(chrdevs: CharDevices):
    assert errno_of(chrdevs.register_region, 251, MINORMASK + 2, "other") == errno.EINVAL


def test_a_major_is_not_given_back_under_its_devices(chrdevs: CharDevices):
    chrdevs.add(Devt(252, 0), object())
    with pytest.raises(AssertionError, match="still registered"):
        chrdevs.unregister_region(252)


@pytest.mark.parametrize(("asked", "registered"), [(1, NR_DAX_MIN), (256, 256), (1000, 1000)])
def test_at_least_256_device_numbers_are_registered(asked: int, registered: int):
    core = DaxCore(FakePorts(), nr_dax=asked)
    core.boot()
    assert core.nr_dax == registered
    core.chrdevs.add(Devt(core.major, registered - 1), object())
    assert errno_of(core.chrdevs.add, Devt(core.major, registered), object()) == errno.ENXIO
