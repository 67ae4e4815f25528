"""Where regions hang, and what is particular to each kind of hardware."""

from __future__ import annotations

import pytest

from daxemu.errors import UsageError
from daxemu.kernel.core import DaxCore
from daxemu.kernel.flavour import FLAVOURS, QUIRKS, Flavour
from daxemu.kernel.providers import PROVIDERS, find_provider
from daxemu.kernel.region import DaxRegion
from daxemu.sysfs.tree import Tree, device_tree, find_store, region_tree

from .fakes import BLOCK, REGION_START, FakePorts

CXL = "devices/platform/cxl_acpi.0/root0/decoder0.0/region0/dax_region0"


def made(provider: str, flavour: str = "6.12", **options) -> DaxRegion:
    core = DaxCore(FakePorts(), flavour=FLAVOURS[flavour])
    core.boot()
    options = {"start": REGION_START, "size": 16 * BLOCK, "align": BLOCK} | options
    return core.add_region(find_provider(provider), **options)


def whole_tree(region: DaxRegion) -> Tree:
    tree = region_tree(region)
    for device in region.children.values():
        tree |= device_tree(device)
    return tree


def text(tree: Tree, path: str) -> str:
    return tree[f"sys/{path}"].text


def test_a_cxl_region_hangs_below_its_decoder():
    tree = whole_tree(made("cxl"))
    assert text(tree, f"{CXL}/dax_region/available_size") == "0\n"
    assert text(tree, f"{CXL}/dax0.0/size") == f"{16 * BLOCK}\n"
    assert text(tree, f"{CXL}/uevent") == "DEVTYPE=cxl_dax_region\nDRIVER=cxl_dax_region\nMODALIAS=cxl:t8\n"
    assert text(tree, f"{CXL}/devtype") == "cxl_dax_region\n"
    assert f"sys/{CXL}/numa_node" not in tree
    assert tree[f"sys/{CXL}/subsystem"].target == "../../../../../../../bus/cxl"
    assert text(tree, "module/dax_cxl/initstate") == "live\n"


def test_the_first_device_of_a_cxl_region_keeps_its_page_structures_on_itself():
    region = made("cxl", size=32 * BLOCK, idle=True)
    assert region.children["dax0.0"].memmap_on_memory
    assert not region.core.create_device(region, BLOCK, driver="none").memmap_on_memory


@pytest.mark.parametrize("provider", ["cxl", "hmem"])
def test_its_memory_is_for_kmem(provider):
    region = made(provider, size=128 << 20, start=1 << 40, driver="auto")
    assert region.children["dax0.0"].driver.name == "kmem"


def test_there_are_no_cxl_regions_before_6_3():
    with pytest.raises(UsageError, match=r"provider 'cxl': Linux 6\.1 makes no dax regions of it; use kernel 6\.12"):
        find_provider("cxl", FLAVOURS["6.1"])
    assert find_provider("cxl", FLAVOURS["6.12"]).name == "cxl"
    for name in PROVIDERS.keys() - {"cxl"}:
        assert find_provider(name, FLAVOURS["6.1"]).name == name


# -- hmem ---------------------------------------------------------------------------------------


def test_an_hmem_device_is_a_platform_device():
    tree = whole_tree(made("hmem"))
    home = "devices/platform/hmem.0"
    assert {name: text(tree, f"{home}/{name}") for name in ("driver_override", "modalias", "numa_node", "uevent")} == {
        "driver_override": "(null)\n",
        "modalias": "platform:hmem\n",
        "numa_node": "0\n",
        "uevent": "DRIVER=hmem\nMODALIAS=platform:hmem\n",
    }
    links = {
        f"sys/{home}/driver": "../../../bus/platform/drivers/hmem",
        f"sys/{home}/subsystem": "../../../bus/platform",
        "sys/bus/platform/devices/hmem.0": "../../../devices/platform/hmem.0",
        "sys/bus/platform/drivers/hmem/hmem.0": "../../../../devices/platform/hmem.0",
        "sys/bus/platform/drivers/hmem/module": "../../../../module/dax_hmem",
        "sys/module/dax_hmem/drivers/platform:hmem": "../../../bus/platform/drivers/hmem",
    }
    assert {path: tree[path].target for path in links} == links


def test_region_idle_makes_regions_that_begin_empty_and_are_for_device_dax():
    first = made("hmem")
    core = first.core
    assert text(region_tree(first), "module/dax_hmem/parameters/region_idle") == "N\n"
    find_store(core, "sys/module/dax_hmem/parameters/region_idle")("1")
    assert text(region_tree(first), "module/dax_hmem/parameters/region_idle") == "Y\n"

    second = core.add_region(find_provider("hmem"), start=2 * REGION_START, size=16 * BLOCK, align=BLOCK)
    device = second.children["dax1.0"]
    assert (device.size, second.available_size(), second.seed) == (0, 16 * BLOCK, None)
    device.resize(16 * BLOCK)
    core.bus.probe(device)
    assert device.driver.name == "device_dax"


# -- NUMA nodes ---------------------------------------------------------------------------------


def test_the_node_it_makes_and_the_node_it_is_near_to():
    tree = whole_tree(made("hmem", target_node=2, numa_node=1))
    assert text(tree, "devices/platform/hmem.0/dax0.0/target_node") == "2\n"
    assert text(tree, "devices/platform/hmem.0/dax0.0/numa_node") == "1\n"
    assert text(tree, "devices/platform/hmem.0/numa_node") == "1\n"


def test_without_a_node_to_make_there_is_no_target_node():
    tree = whole_tree(made("hmem", target_node=-1, numa_node=-1))
    assert "sys/devices/platform/hmem.0/dax0.0/target_node" not in tree
    assert text(tree, "devices/platform/hmem.0/dax0.0/numa_node") == "-1\n"


# -- flavours -----------------------------------------------------------------------------------


def test_every_quirk_is_explained_and_differs_between_kernels():
    assert QUIRKS.keys() == set(Flavour._fields) - {"name"}
    for name in QUIRKS:
        assert len({getattr(flavour, name) for flavour in FLAVOURS.values()}) == 2


# -- power --------------------------------------------------------------------------------------


def test_power_management_can_be_forbidden_and_nothing_comes_of_it():
    region = made("hmem")
    home = "sys/devices/platform/hmem.0/dax0.0/mapping0/power"
    assert whole_tree(region)[f"{home}/control"].text == "auto\n"
    find_store(region.core, f"{home}/control")("on\n")
    shown = {
        name: whole_tree(region)[f"{home}/{name}"].text for name in ("control", "runtime_enabled", "runtime_usage")
    }
    assert shown == {"control": "on\n", "runtime_enabled": "disabled & forbidden\n", "runtime_usage": "1\n"}
    assert whole_tree(region)["sys/devices/platform/hmem.0/dax0.0/power/control"].text == "auto\n"
