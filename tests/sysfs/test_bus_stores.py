"""Stores of the bus and its drivers: ids, bind and unbind, probing; uevents."""

from __future__ import annotations

import pytest

from tests.kernel.fakes import BLOCK, G
from tests.sysfs.machine import Machine

# -- new_id, remove_id -----------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["device_dax/new_id", "device_dax/remove_id", "kmem/new_id", "kmem/remove_id"])
@pytest.mark.parametrize("text", ["", "x", "dax", "dax0", "dax099.0", " dax0.0", "dax0.0 ", "dax0.0x", "dax0.0\n\n"])
def test_an_id_is_exactly_a_devices_name(machine: Machine, attribute: str, text: str):
    assert machine.write(attribute, text) == "EINVAL"


def test_an_id_may_be_added_and_removed_any_number_of_times(machine: Machine):
    for text in ("dax99.0", "dax99.0\n"):
        assert machine.write("device_dax/new_id", text) == "ok"
        assert machine.write("device_dax/new_id", text) == "ok"
    assert machine.core.bus.drivers["device_dax"].ids == {"dax99.0"}
    for text in ("dax99.0\n", "dax99.0", "dax98.0"):
        assert machine.write("device_dax/remove_id", text) == "ok"
    assert not machine.core.bus.drivers["device_dax"].ids


def test_new_id_succeeds_where_the_probe_fails(machine: Machine):
    assert machine.write("device_dax/new_id", "dax0.0") == "ok"
    assert machine.device("dax0.0").driver is None


# -- bind, unbind ----------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["device_dax/bind", "device_dax/unbind", "kmem/bind", "kmem/unbind"])
@pytest.mark.parametrize("text", ["", "\n", "nope", "dax7.0", "dax0.0 ", "dax0.0\n\n"])
def test_a_device_that_is_not_there_is_neither_bound_nor_unbound(machine: Machine, attribute: str, text: str):
    assert machine.write(attribute, text) == "ENODEV"


def test_bind_asks_whether_the_driver_takes_the_device_before_all_else(machine: Machine):
    assert machine.write("device_dax/bind", "dax0.0") == "ENODEV", "empty"
    machine.create(BLOCK)
    assert machine.write("device_dax/bind", "dax0.1") == "ENODEV", "kmem's"
    machine.write("device_dax/new_id", "dax0.1")
    machine.write("device_dax/remove_id", "dax0.1")
    assert machine.write("device_dax/bind", "dax0.1") == "ENODEV", "bound, but not matching"


def test_bind_of_a_bound_device_is_busy_whoever_has_it(machine: Machine):
    machine.create(BLOCK, bound=True)
    assert machine.write("device_dax/bind", "dax0.1\n") == "EBUSY"
    assert machine.write("kmem/bind", "dax0.1") == "EBUSY"


def test_bind_passes_on_what_the_probe_answers(machine: Machine):
    machine.write("device_dax/new_id", "dax0.0")
    assert machine.write("device_dax/bind", "dax0.0") == "ENXIO"
    machine.create(BLOCK)
    assert machine.write("kmem/bind", "dax0.1") == "EINVAL", "no whole memory block"


def test_unbind_is_for_the_driver_that_has_the_device(machine: Machine):
    device = machine.create(BLOCK, bound=True)
    assert machine.write("kmem/unbind", "dax0.1") == "ENODEV"
    assert machine.write("device_dax/unbind", "dax0.1\n") == "ok"
    assert machine.write("device_dax/unbind", "dax0.1") == "ENODEV"
    assert machine.write("device_dax/bind", "dax0.1") == "ok"
    assert device.alive


def test_a_static_device_binds_without_an_id(static: Machine):
    static.core.bus.drivers["device_dax"].ids.clear()
    assert static.write("device_dax/unbind", "dax0.0") == "ok"
    assert static.write("device_dax/bind", "dax0.0") == "ok"


# -- the bus ---------------------------------------------------------------------------------------


def test_drivers_probe_offers_an_unbound_device_to_the_drivers():
    machine = Machine(size=G, driver="none")
    assert machine.write("drivers_probe", "nope") == "ENODEV"
    assert machine.write("drivers_probe", "dax0.0\n") == "ok"
    assert machine.device("dax0.0").driver is machine.core.bus.drivers["kmem"]
    assert machine.write("drivers_probe", "dax0.0") == "ok", "bound: nothing to do"


def test_drivers_probe_succeeds_where_no_driver_takes_the_device(machine: Machine):
    assert machine.write("drivers_probe", "dax0.0") == "ok"
    assert machine.device("dax0.0").driver is None


@pytest.mark.parametrize(("text", "on"), [("0", False), ("0\n", False), ("00", False), ("01", False), ("1", True)])
def test_autoprobe_is_off_for_a_0_and_on_for_anything_else(machine: Machine, text: str, on: bool):
    assert machine.read("drivers_autoprobe") == "1"
    machine.core.bus.autoprobe = not on
    assert machine.write("drivers_autoprobe", text) == "ok"
    assert machine.read("drivers_autoprobe") == str(int(on))


@pytest.mark.parametrize("text", ["", "\n", "x", "off", "n"])
def test_autoprobe_is_on_for_words(machine: Machine, text: str):
    machine.core.bus.autoprobe = False
    machine.write("drivers_autoprobe", text)
    assert machine.core.bus.autoprobe


# -- uevent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["dax0.0/uevent", "device_dax/uevent"])
@pytest.mark.parametrize(("text", "answer"), [("add", "ok"), ("change\n", "ok"), ("bogus", "EINVAL"), ("", "EINVAL")])
def test_uevent_takes_the_name_of_an_action(machine: Machine, attribute: str, text: str, answer: str):
    assert machine.write(attribute, text) == answer
