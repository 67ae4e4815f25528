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


def run_steps(daxemu_run, script: str, options: tuple[str, ...] = RAW_256M) -> str:
    """What the steps of a shell script print, on stderr too; `rc` behind one prints its status."""
    require("ndctl")
    return daxemu_run("bash", "-c", f'exec 2>&1; rc() {{ "$@"; echo "rc $?"; }}\n{script}', options=options).stdout


def test_a_namespace_is_made_and_destroyed(daxemu_run):
    """Messages and statuses as on a real kernel."""
    shown = run_steps(
        daxemu_run,
        """
        rc ndctl destroy-namespace namespace0.0
        rc ndctl destroy-namespace -f namespace0.0
        ls /dev/dax0.0 /dev/pmem0
        rc ndctl enable-namespace namespace0.0
        stat -c '%F' /dev/pmem0
        blockdev --getsize64 /dev/pmem0
        rc ndctl create-namespace -f -e namespace0.0 -m devdax -a 4k
        stat -c '%F' /dev/dax0.0
        ls /dev/pmem0 || true
        """,
    )
    assert (
        """  Error: namespace0.0 is active, specify --force for re-configuration

error destroying namespaces: Device or resource busy
destroyed 0 namespaces
rc 240
destroyed 1 namespace
rc 0
ls: cannot access '/dev/dax0.0': No such file or directory
ls: cannot access '/dev/pmem0': No such file or directory
enabled 1 namespace
rc 0
block special file
268435456
"""
        in shown
    )
    assert '"align":4096' in shown
    assert '"size":262144000' in shown
    assert shown.endswith("rc 0\ncharacter special file\nls: cannot access '/dev/pmem0': No such file or directory\n")


def test_namespaces_regions_and_modules_are_disabled_and_enabled(daxemu_run):
    shown = run_steps(
        daxemu_run,
        """
        daxctl disable-device dax0.0
        ndctl list -NXi | grep -o '"state":"disabled"'
        daxctl enable-device dax0.0
        ndctl disable-namespace namespace0.0
        ndctl list -Ni | grep -o '"mode":"raw"'
        ndctl enable-namespace namespace0.0
        ndctl disable-region region0
        ls -d /sys/bus/nd/devices/*
        ndctl disable-dimm nmem0
        ndctl enable-dimm nmem0
        ndctl enable-region region0
        readlink /sys/bus/dax/devices/dax0.0
        cd /sys/bus/nd/devices; cat region0/dax_seed namespace0.0/{holder,holder_class,mode}
        """,
    )
    assert shown.splitlines() == [
        "disabled 1 device",
        '"state":"disabled"',
        "enabled 1 device",
        "disabled 1 namespace",
        '"mode":"raw"',
        "enabled 1 namespace",
        "disabled 1 region",
        "/sys/bus/nd/devices/ndbus0",
        "/sys/bus/nd/devices/nmem0",
        "/sys/bus/nd/devices/region0",
        "disabled 1 nmem",
        "enabled 1 nmem",
        "enabled 1 region",
        "../../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/dax0.1/dax0.0",
        "dax0.0",
        "dax0.1",
        "dax",
        "dax",
    ]


def test_modes_that_are_not_emulated_are_refused(daxemu_run):
    script = """
        for mode in fsdax sector; do rc ndctl create-namespace -f -e namespace0.0 -m $mode; done
        rc ndctl create-namespace -f -e namespace0.0 -m devdax >/dev/null
        ls /dev/dax0.0
    """
    shown = run_steps(daxemu_run, script)
    assert shown.count("Error: namespace0.0: failed to enable") == 2
    assert shown.count("rc 250") == 2
    assert shown.endswith("/dev/dax0.0\n")


def test_errors_are_injected_found_and_cleared(daxemu_run):
    shown = run_steps(
        daxemu_run,
        """
        cd /sys/bus/nd/devices
        ndctl inject-error namespace0.0 -B 8 -n 2 >/dev/null; cat region0/badblocks
        ndctl list -NM | grep -E 'badblock_count|offset|length'
        ndctl inject-error -t namespace0.0 | grep block
        ndctl inject-error namespace0.0 --no-notify -B 16 -n 1 >/dev/null; cat region0/badblocks
        ndctl start-scrub >/dev/null; ndctl wait-scrub | grep -o '"scrub_state":"idle"'; cat region0/badblocks
        ndctl clear-errors namespace0.0 >/dev/null; cat region0/badblocks; echo end
        """,
    )
    assert shown.replace(" ", "").splitlines() == [
        "122962",
        '"badblock_count":2,',
        '"offset":8,',
        '"length":2,',
        '"badblocks":[',
        '"block":8,',
        "122962",
        '"scrub_state":"idle"',
        "122962",
        "123041",
        "cleared1namespace",
        "end",
    ]


def test_the_default_region_is_divided_anew(daxemu_run):
    script = """
        ndctl create-namespace -f -e namespace0.0 -m devdax -a 4K | grep -m 1 align
        ndctl destroy-namespace -f namespace0.0
        ndctl create-namespace -m devdax | grep chardev
    """
    shown = run_steps(daxemu_run, script)
    assert [line.strip() for line in shown.splitlines()] == [
        '"align":4096,',
        "destroyed 1 namespace",
        '"chardev":"dax0.0",',
    ]


def test_errors_are_injected_into_a_raw_namespace(daxemu_run):
    script = """
        ndctl create-namespace -f -e namespace0.0 -m raw >/dev/null
        ndctl inject-error namespace0.0 -B 10 -n 2 | grep -E 'badblock_count|offset|length'
        ndctl clear-errors namespace0.0 >/dev/null; cat /sys/bus/nd/devices/region0/badblocks; echo end
    """
    shown = run_steps(daxemu_run, script)
    assert shown.replace(" ", "").splitlines() == [
        '"badblock_count":2,',
        '"offset":10,',
        '"length":2,',
        "cleared1namespace",
        "end",
    ]


def test_a_raw_namespace_is_a_disk_over_the_same_memory(daxemu_run):
    script = """
        printf 'stored by a program' | daxio -o /dev/dax0.0 -s 4096 -l 19 2>/dev/null
        ndctl destroy-namespace -f namespace0.0; ndctl enable-namespace namespace0.0
        dd if=/dev/pmem0 bs=1 skip=$((6 * 1024 * 1024 + 4096)) count=19 2>/dev/null; echo
        printf 'written to the disk' | dd of=/dev/pmem0 bs=1 seek=$((6 * 1024 * 1024 + 8192)) conv=notrunc 2>/dev/null
        ndctl create-namespace -f -e namespace0.0 -m devdax >/dev/null
        daxio -i /dev/dax0.0 -k 8192 -l 19 2>/dev/null
    """
    require("daxio")
    assert run_steps(daxemu_run, script) == "destroyed 1 namespace\nenabled 1 namespace\n" + (
        "stored by a program\nwritten to the disk"
    )
