"""Which attribute a path is, and what of it is gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from daxemu.errors import KernelError
from daxemu.sysfs.directory import File
from daxemu.sysfs.tree import bus_tree, device_path, device_tree, find_store, region_tree
from tests.kernel.fakes import BLOCK, errno_of
from tests.sysfs.machine import Machine


@pytest.mark.parametrize(
    "attribute",
    [
        *("id", "size", "align", "available_size", "seed", "nosuch", "dax0.1/resource", "dax0.1/modalias"),
        *("dax0.1/dev", "dax0.1/target_node", "dax0.1/numa_node", "dax0.1/nosuch", "dax0.1/mapping0/start"),
        *("dax0.1/mapping0/end", "dax0.1/mapping0/page_offset", "dax0.1/mapping0/nosuch", "device_dax/nosuch"),
        "drivers_nosuch",
    ],
)
def test_what_cannot_be_written_is_eacces(machine: Machine, attribute: str):
    machine.create(BLOCK)
    assert machine.write(attribute, "1") == "EACCES"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "size",
        "sys/devices/platform/hmem.7/dax_region/create",
        "sys/devices/platform/hmem.0/dax0.7/size",
        "sys/devices/platform/hmem.7/dax0.0/size",
        "sys/devices/platform/hmem.0/dax0.1/mapping1/uevent",
        "sys/devices/platform/hmem.0/dax0.7/mapping0/uevent",
        "sys/bus/dax/drivers/nosuch/bind",
        "sys/bus/dax/devices/dax0.1/size",  # a link; programs are known by where their descriptor is
    ],
)
def test_what_is_not_there_is_enodev(machine: Machine, path: str):
    machine.create(BLOCK)
    with pytest.raises(KernelError) as refused:
        find_store(machine.core, path)
    assert refused.value.errno == errno.ENODEV


def test_a_store_of_a_range_that_is_gone_is_enodev(machine: Machine):
    machine.create(BLOCK)
    assert machine.write("dax0.1/mapping0/uevent", "change") == "ok"
    machine.write("dax0.1/size", "0")
    assert machine.write("dax0.1/mapping0/uevent", "change") == "ENODEV"


@pytest.mark.parametrize("end", ["delete", "region"])
def test_a_store_of_a_device_that_is_gone_is_enodev(machine: Machine, end: str):
    machine.create()
    assert machine.write("dax0.1/size", "0") == "ok"
    if end == "delete":
        machine.write("delete", "dax0.1")
    else:
        machine.core.remove_region(machine.region)
        assert machine.write("create", "1") == "ENODEV"
    assert machine.write("dax0.1/size", "0") == "ENODEV"


def test_what_was_found_before_the_device_went_is_enodev(machine: Machine):
    """The program has the file open; the store runs after the delete."""
    device = machine.create()
    stores: dict[str, Callable[[str], None]] = {
        name: find_store(machine.core, f"{device_path(device)}/{name}") for name in ("size", "align")
    }
    device.get()
    machine.write("delete", "dax0.1")
    assert {name: errno_of(store, str(BLOCK)) for name, store in stores.items()} == dict.fromkeys(stores, errno.ENODEV)
    device.put()


def test_every_attribute_that_can_be_written_is_found(machine: Machine):
    machine.create(BLOCK)
    tree = bus_tree(machine.core.bus) | region_tree(machine.region) | device_tree(machine.device("dax0.1"))
    files = {path: entry for path, entry in tree.items() if isinstance(entry, File) and not path.endswith("/")}
    writable = {path for path, file in files.items() if path.startswith("sys/") and file.mode & 0o222}
    assert {os.path.basename(path) for path in writable} >= {"size", "create", "bind", "drivers_probe", "mapping"}
    for path in writable:
        assert callable(find_store(machine.core, path))
