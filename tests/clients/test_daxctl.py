"""daxctl, as Debian ships it."""

import json

from tests.conftest import require


def test_daxctl_lists_the_region_its_device_and_its_mapping(daxemu_run):
    require("daxctl")

    listed = json.loads(daxemu_run("daxctl", "list", "-R", "-D", "-M").stdout)

    region = listed[0] if isinstance(listed, list) else listed
    assert region["path"] == "/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/dax0.0"
    assert (region["id"], region["size"], region["align"]) == (0, 64 << 20, 2 << 20)
    (device,) = region["devices"]
    assert (device["chardev"], device["size"], device["mode"]) == ("dax0.0", 64 << 20, "devdax")
    (mapping,) = device["mappings"]
    assert mapping["end"] - mapping["start"] + 1 == mapping["size"] == 64 << 20


def test_daxctl_prints_human_readable_units(daxemu_run):
    require("daxctl")

    assert "64.00 MiB (67.11 MB)" in daxemu_run("daxctl", "list", "-R", "-D", "-M", "-u").stdout


def test_daxctl_shows_the_space_left_in_a_dynamic_region(daxemu_run):
    require("daxctl")
    options = ("--region", "provider=hmem,size=32M", "--region", "provider=pmem,size=16M,align=4K")
    options += ("--region", "provider=cxl,size=8M,target_node=3")

    regions = json.loads(daxemu_run("daxctl", "list", "-R", "-D", "-i", options=options).stdout)

    by_id = {region["id"]: region for region in regions}
    assert by_id[0]["path"] == "/platform/hmem.0"
    assert by_id[1]["align"] == 4096
    assert [device["chardev"] for device in by_id[1]["devices"]] == ["dax1.0"]
    assert by_id[2]["path"] == "/platform/cxl_acpi.0/root0/decoder0.0/region2/dax_region2"
    assert [device["target_node"] for device in by_id[2]["devices"]] == [3]
