"""What writing attributes of the nvdimm bus does: taken or refused as a real kernel did (Linux 6.12)."""

from __future__ import annotations

import errno

import pytest

from daxemu.kernel.nvdimm.bus import NvdimmBus
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.sysfs.directory import File, Link
from daxemu.sysfs.nvdimm import nvdimm_bus_tree, nvdimm_region_tree
from daxemu.sysfs.tree import find_store
from tests.kernel.fakes import G, M, booted, errno_of

HOME = "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0"
DRIVERS = "sys/bus/nd/drivers"


@pytest.fixture
def region() -> NdRegion:
    """A region whose namespace is disabled, as after ``ndctl disable-namespace``."""
    core = booted()
    core.nvdimm = NvdimmBus(core, control_major=245, dimm_major=244)
    region = core.nvdimm.add_region(start=4 * G, raw=256 * M, align=2 * M)
    region.bus.unbind(region.claims["dax0.0"])
    region.claims["dax0.0"].set_namespace("")
    return region


def write(region: NdRegion, path: str, text: str) -> str:
    """Name of the errno; "ok" without one."""
    where = path if path.startswith("sys/") else f"{HOME}/{path}"
    error = errno_of(lambda: find_store(region.core, where)(text))
    return errno.errorcode[error] if error else "ok"


def read(region: NdRegion, path: str) -> str | None:
    entry = nvdimm_region_tree(region).get(f"{HOME}/{path}")
    return entry.text if isinstance(entry, File) else None


SEED = "region0/dax0.1"


@pytest.mark.parametrize(
    ("path", "text", "answer", "shown"),
    [
        (f"{SEED}/align", " ", "EINVAL", "2097152"),
        (f"{SEED}/align", "0", "EINVAL", "2097152"),
        (f"{SEED}/align", "4096", "ok", "4096"),
        (f"{SEED}/align", "8192", "EINVAL", "2097152"),
        (f"{SEED}/align", "0x40000000\n", "ok", "1073741824"),
        (f"{SEED}/align", "junk", "EINVAL", "2097152"),
        (f"{SEED}/mode", "pmem\n", "ok", "pmem"),
        (f"{SEED}/mode", "ram", "ok", "ram"),
        (f"{SEED}/mode", "none", "ok", "none"),
        (f"{SEED}/mode", "memory", "EINVAL", "none"),
        (f"{SEED}/uuid", "junk", "EINVAL", ""),
        (f"{SEED}/uuid", "11111111-2222-3333-4444-555555555555", "ok", "11111111-2222-3333-4444-555555555555"),
        (f"{SEED}/namespace", "junk", "ENODEV", ""),
        (f"{SEED}/namespace", "namespace0.0", "ok", "namespace0.0"),
        (f"{SEED}/namespace", "namespace0.1", "ENODEV", ""),
        ("region0/btt0.0/sector_size", "512", "ok", "[512] 520 528 4096 4104 4160 4224 "),
        ("region0/btt0.0/sector_size", "513", "EINVAL", "512 520 528 4096 4104 4160 4224 "),
        ("region0/namespace0.0/force_raw", "1", "ok", "1"),
        ("region0/namespace0.0/force_raw", "2", "EINVAL", "0"),
        ("region0/namespace0.0/holder_class", "raw", "EINVAL", ""),
        ("region0/namespace0.0/holder_class", "dax", "ENXIO", ""),
        ("region0/read_only", "1", "ok", "1"),
        ("region0/read_only", "junk", "EINVAL", "0"),
        ("region0/align", "0", "EINVAL", "0x1000000"),
        ("region0/align", "2097152", "ok", "0x200000"),
        ("region0/align", "junk", "EINVAL", "0x1000000"),
        ("region0/deep_flush", "1", "EACCES", "0"),
        ("region0/size", "1", "EACCES", "268435456"),
    ],
)
def test_what_is_taken_and_what_is_shown_then(region, path, text, answer, shown):
    assert write(region, path, text) == answer
    assert read(region, path) == f"{shown}\n"


def test_a_namespace_is_claimed_once_and_given_up(region):
    write(region, f"{SEED}/namespace", "namespace0.0")
    assert write(region, f"{SEED}/namespace", "namespace0.0") == "EBUSY"
    assert write(region, "region0/btt0.0/namespace", "namespace0.0") == "EBUSY"
    assert read(region, "region0/namespace0.0/holder") == "dax0.1\n"
    write(region, f"{SEED}/uuid", "11111111222233334444555555555555")
    assert write(region, f"{SEED}/namespace", "\n") == "ok"
    assert read(region, "region0/namespace0.0/holder") == "\n"
    assert read(region, f"{SEED}/uuid") == "\n"  # the seed is as new


def test_a_device_is_made_by_writes_alone(region):
    for name, text in {"align": "4096", "mode": "pmem", "uuid": "1" * 32, "namespace": "namespace0.0"}.items():
        assert write(region, f"{SEED}/{name}", text) == "ok"
    assert write(region, f"{DRIVERS}/dax_pmem/bind", "dax0.1") == "ok"
    assert region.core.bus.devices["dax0.0"].align == 4096
    for name in ("align", "mode", "uuid", "namespace"):
        assert write(region, f"{SEED}/{name}", "4096") == "EBUSY"
    assert write(region, f"{DRIVERS}/dax_pmem/unbind", "dax0.1\n") == "ok"
    assert region.core.bus.devices == {}


@pytest.mark.parametrize("driver", ["dax_pmem", "nd_pmem", "nd_region", "nvdimm"])
@pytest.mark.parametrize("name", ["junk", "dax0.1", "pfn0.0", "btt0.0", "region0", "nmem0", "ndbus0"])
def test_nothing_that_is_bound_or_idle_is_bound(region, driver, name):
    assert write(region, f"{DRIVERS}/{driver}/bind", name) in ("ENODEV", "EBUSY")


@pytest.mark.parametrize("name", ["junk", "pfn0.0", "btt0.0", "region0"])
def test_what_a_driver_has_not_bound_it_does_not_unbind(region, name):
    assert write(region, f"{DRIVERS}/nd_pmem/unbind", name) == "ENODEV"


def test_a_read_only_region_takes_no_info_block(region):
    region.memory.write(4096, bytes(4096))
    write(region, "region0/read_only", "1")
    for name, text in {"mode": "pmem", "uuid": "1" * 32, "namespace": "namespace0.0"}.items():
        write(region, f"{SEED}/{name}", text)
    assert write(region, f"{DRIVERS}/dax_pmem/bind", "dax0.1") == "ENXIO"
    write(region, "region0/read_only", "0")
    assert write(region, f"{DRIVERS}/dax_pmem/bind", "dax0.1") == "ok"


def test_drivers_probe_finds_the_namespaces_use(region):
    assert write(region, "sys/bus/nd/drivers_probe", "namespace0.0") == "ok"
    assert "dax0.0" in region.core.bus.devices
    assert write(region, "sys/bus/nd/drivers_probe", "namespace1.0") == "ENODEV"


def test_without_autoprobe_a_region_stays_without_users(region):
    write(region, "sys/bus/nd/drivers_autoprobe", "0")
    write(region, f"{DRIVERS}/nd_region/unbind", "region0")
    assert write(region, f"{DRIVERS}/nd_region/bind", "region0") == "ok"
    assert (region.namespace.driver, region.namespace.claim) == (None, None)


def test_every_link_leads_somewhere(region):
    """Links between the bus, its drivers, classes and devices; what they lead to is there."""
    tree = nvdimm_bus_tree(region.bus) | nvdimm_region_tree(region)
    directories = {path.rpartition("/")[0] for path in tree}
    directories |= {parent for path in directories for parent in _parents(path)} | {"sys/class/nd", "sys/class/block"}
    for path, entry in tree.items():
        if isinstance(entry, Link):
            assert _resolve(path, entry.target) in directories, path


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _resolve(path: str, target: str) -> str:
    parts = path.split("/")[:-1]
    for step in target.split("/"):
        parts = parts[:-1] if step == ".." else [*parts, step]
    return "/".join(parts)
