"""ndctl, as Debian ships it. What it is compared with was recorded in a virtual machine under Linux 6.12."""

import json

from tests.conftest import require


def listed(daxemu_run, *arguments: str, options: tuple[str, ...]) -> dict:
    """What a listing says; every uuid is random and reads "uuid" here."""
    require("ndctl")
    text = daxemu_run("ndctl", "list", *arguments, options=options).stdout
    return json.loads(text, object_hook=lambda object_: object_ | ({"uuid": "uuid"} if "uuid" in object_ else {}))


RAW_256M = ("--region", "raw=256M,start=0x100000000")

# `ndctl list -RNXDu` after `ndctl create-namespace -f -e namespace0.0 -m devdax -a 2M`, one NVDIMM of 256 MiB.
RECORDED = {
    "dimms": [{"dev": "nmem0", "id": "8680-56341200", "handle": "0x1", "phys_id": "0"}],
    "regions": [
        {
            "dev": "region0",
            "size": "256.00 MiB (268.44 MB)",
            "align": "16.00 MiB (16.78 MB)",
            "available_size": 0,
            "max_available_extent": 0,
            "type": "pmem",
            "mappings": [{"dimm": "nmem0", "offset": "0", "length": "0x10000000", "position": 0}],
            "persistence_domain": "memory_controller",
            "namespaces": [
                {
                    "dev": "namespace0.0",
                    "mode": "devdax",
                    "map": "dev",
                    "size": "250.00 MiB (262.14 MB)",
                    "uuid": "uuid",
                    "daxregion": {
                        "id": 0,
                        "size": "250.00 MiB (262.14 MB)",
                        "align": 2097152,
                        "devices": [
                            {
                                "chardev": "dax0.0",
                                "size": "250.00 MiB (262.14 MB)",
                                "target_node": 0,
                                "align": 2097152,
                                "mode": "devdax",
                            }
                        ],
                    },
                    "align": 2097152,
                }
            ],
        }
    ],
}


def test_ndctl_lists_what_a_real_kernel_shows(daxemu_run):
    assert listed(daxemu_run, "-RNXDu", options=RAW_256M) == RECORDED


def test_ndctl_lists_what_the_bus_can(daxemu_run):
    (bus,) = listed(daxemu_run, "-BRNXDvvv", options=RAW_256M)
    assert (bus["provider"], bus["dev"]) == ("ACPI.NFIT", "ndbus0")
    (region,) = bus["regions"]
    assert [capability["mode"] for capability in region["capabilities"]] == ["sector", "fsdax", "devdax"]
    assert region["capabilities"][2]["alignments"] == [4096, 2097152, 1073741824]
    assert (region["numa_node"], region["target_node"]) == (0, 0)


def test_every_pmem_region_hangs_on_the_one_bus(daxemu_run):
    options = (
        "--region",
        "raw=128M",
        "--region",
        "provider=hmem,size=16M",
        "--region",
        "size=8M,persistence=cpu_cache",
    )
    buses = listed(daxemu_run, "-BRNXD", options=options)
    (bus,) = buses
    regions = {region["dev"]: region for region in bus["regions"]}
    assert sorted(dimm["dev"] for dimm in bus["dimms"]) == ["nmem0", "nmem1"]
    assert {name: region["persistence_domain"] for name, region in regions.items()} == {
        "region0": "memory_controller",
        "region2": "cpu_cache",
    }
    assert regions["region2"]["namespaces"][0]["size"] == 8 << 20
    assert regions["region0"]["namespaces"][0]["size"] == 124 << 20


def test_without_an_nvdimm_there_is_no_bus(daxemu_run):
    require("ndctl")
    assert daxemu_run("ndctl", "list", "-BRNXD", options=("--region", "provider=hmem")).stdout == ""
