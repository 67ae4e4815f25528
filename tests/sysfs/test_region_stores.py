"""Stores of a region's attributes: create, delete; and what a static region lacks."""

from __future__ import annotations

import pytest

from daxemu.kernel.flavour import FLAVOURS
from daxemu.kernel.providers import find_provider
from tests.kernel.fakes import BLOCK, REGION_START, G, fake_ports
from tests.sysfs.machine import BLOCKS, TOO_LARGE, Machine

# -- create, seed, youngest ------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "2", "-1", "-0", "x", "", "\n", "1 ", " 1", "0x", "+-1"])
@pytest.mark.parametrize("full", [True, False])
def test_only_1_creates_and_that_is_checked_before_the_space(machine: Machine, text: str, full: bool):
    machine.create(BLOCKS * BLOCK if full else 0)
    assert machine.write("create", text) == "EINVAL"


@pytest.mark.parametrize("text", ["2147483648", "-2147483649", TOO_LARGE])
def test_a_number_too_large_for_an_int_does_not_create(machine: Machine, text: str):
    assert machine.write("create", text) == "ERANGE"


def test_a_full_region_creates_nothing(machine: Machine):
    machine.create(BLOCKS * BLOCK)
    assert machine.write("create", "1") == "ENOSPC"
    assert list(machine.region.children) == ["dax0.0", "dax0.1"]


@pytest.mark.parametrize("text", ["1", "1\n", "+1", "0x1", "01"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_1_creates_an_empty_unbound_device(flavour: str, text: str):
    machine = Machine(flavour)
    assert machine.write("create", text) == "ok"
    device = machine.device("dax0.1")
    assert (device.size, device.driver, device.align) == (0, None, machine.region.align)


def test_the_first_device_is_neither_seed_nor_youngest():
    machine = Machine(driver="none")
    assert (machine.read("seed"), machine.read("create")) == ("", "")


def test_the_seed_stays_the_first_the_youngest_is_the_last(machine: Machine):
    machine.write("create", "1")
    machine.write("create", "1")
    assert (machine.read("seed"), machine.read("create")) == ("dax0.1", "dax0.2")


def test_only_a_successful_bind_of_the_seed_ends_it(machine: Machine):
    machine.write("create", "1")
    machine.write("create", "1")
    machine.write("device_dax/new_id", "dax0.1")
    machine.write("dax0.2/size", str(BLOCK))
    machine.write("device_dax/new_id", "dax0.2")
    assert machine.read("seed") == "dax0.1", "empty: it could not be bound"
    machine.write("dax0.1/size", str(BLOCK))
    assert machine.write("device_dax/bind", "dax0.1") == "ok"
    assert machine.read("seed") == ""
    machine.write("create", "1")
    assert machine.read("seed") == "dax0.3"
    machine.write("device_dax/unbind", "dax0.1")
    assert machine.read("seed") == "dax0.3"


def test_onlookers_see_the_seed_end(machine: Machine, monkeypatch):
    machine.write("create", "1")
    machine.write("dax0.1/size", str(BLOCK))
    seen = []
    publish = fake_ports(machine.core).publish
    monkeypatch.setattr(
        machine.core.ports, "publish", lambda event: (publish(event), seen.append(machine.read("seed"))), raising=True
    )
    machine.write("device_dax/new_id", "dax0.1")
    assert seen[-1] == ""


def test_deleting_ends_seed_and_youngest(machine: Machine):
    machine.write("create", "1")
    machine.write("create", "1")
    machine.write("delete", "dax0.2")
    assert (machine.read("seed"), machine.read("create")) == ("dax0.1", "")
    machine.write("delete", "dax0.1\n")
    assert (machine.read("seed"), machine.read("create")) == ("", "")


# -- delete ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "\n", "dax0.7", "dax7.7", "dax0", "dax0.1 ", "dax_region", "device_dax"])
def test_what_is_no_device_of_the_region_cannot_be_deleted(machine: Machine, name: str):
    machine.create()
    assert machine.write("delete", name) == "ENXIO"


def test_another_regions_device_cannot_be_deleted(machine: Machine):
    other = machine.core.add_region(find_provider("hmem"), start=2 * REGION_START, size=G, align=BLOCK, idle=True)
    machine.core.create_device(other, 0, driver="none")
    assert machine.write("delete", "dax1.1") == "ENXIO"
    assert "dax1.1" in other.children


def test_a_bound_device_and_one_with_a_size_are_busy(machine: Machine):
    device = machine.create(BLOCK, bound=True)
    assert machine.write("delete", "dax0.1") == "EBUSY"
    machine.core.bus.unbind(device)
    assert machine.write("delete", "dax0.1") == "EBUSY"
    machine.write("dax0.1/size", "0")
    assert machine.write("delete", "dax0.1") == "ok"
    assert machine.write("delete", "dax0.1") == "ENXIO"


def test_the_first_device_stays_for_ever(machine: Machine):
    assert machine.write("delete", "dax0.0") == "EBUSY"
    assert machine.read("dax0.0/size") == "0"


def test_the_id_of_a_deleted_device_is_free_at_once(machine: Machine):
    device = machine.create()
    device.get()
    machine.write("delete", "dax0.1")
    machine.write("create", "1")
    assert machine.read("create") == "dax0.1"
    assert machine.device("dax0.1").devt != device.devt
    device.put()


# -- a static region -------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["create", "delete", "seed", "available_size", "dax0.0/mapping"])
def test_a_static_region_lacks_what_would_change_it(static: Machine, attribute: str):
    assert static.read(attribute) is None
    assert static.write(attribute, "1") == "EACCES"


@pytest.mark.parametrize("attribute", ["dax0.0/size", "dax0.0/align"])
def test_size_and_alignment_of_a_static_device_cannot_be_written(static: Machine, attribute: str):
    static.core.bus.unbind(static.device("dax0.0"))
    assert static.write(attribute, "0") == "EACCES"
    assert static.device("dax0.0").size == BLOCKS * BLOCK
