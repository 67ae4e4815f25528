"""Regions of NVDIMMs, from Python."""

import pytest

from daxemu import Engine, KernelError, UsageError
from daxemu.plugins import load_plugins

M, G = 1 << 20, 1 << 30
HOME = "/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0"
DRIVERS = "/sys/bus/nd/drivers"


@pytest.fixture
def engine():
    with Engine() as engine:
        yield engine


def shown(engine, *paths: str) -> list[str]:
    return engine.run(["cat", *paths], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("raw", "align", "start", "size", "first"),
    [("256M", "2M", 4 * G, 250 * M, 4 * G + 6 * M), ("6G", "1G", 4 * G, 5 * G, 5 * G)],
)
def test_raw_is_the_size_of_a_namespace(engine, raw, align, start, size, first):
    """As measured on real kernels: info block and page map are taken from it."""
    region = engine.add_region(raw=raw, align=align, start=start)
    assert (region.size, region.devices[0].size) == (size, size)
    facts = shown(engine, f"{HOME}/namespace0.0/size", f"{HOME}/resource", "/sys/bus/dax/devices/dax0.0/resource")
    assert facts == [str(int(raw[:-1]) * (M if raw[-1] == "M" else G)), f"{start:#x}", f"{first:#x}"]


def test_size_and_start_are_the_devices_own(engine):
    engine.add_region(size="16M", start=5 * G)
    facts = shown(engine, "/sys/bus/dax/devices/dax0.0/resource", "/sys/bus/dax/devices/dax0.0/size")
    assert facts == [f"{5 * G:#x}", str(16 * M)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "64M", "raw": "64M"}, "exclude each other"),
        ({}, "needs a size"),
        ({"raw": "64M", "provider": "hmem"}, "only regions of provider 'pmem' have namespaces"),
        ({"size": "64M", "persistence": "none"}, "none of memory_controller, cpu_cache"),
        ({"size": "64M", "persistence": "cpu_cache", "provider": "hmem"}, "only regions of provider 'pmem'"),
        ({"size": "64M", "start": 0}, "must have room"),
        ({"raw": "64M", "start": 4096}, "not a multiple of the alignment 2M"),
    ],
)
def test_what_makes_no_sense_is_refused(engine, arguments, message):
    with pytest.raises(UsageError, match=message):
        engine.add_region(**arguments)
    assert engine.regions == []


def test_a_namespace_that_its_alignment_leaves_nothing_of(engine):
    with pytest.raises(KernelError, match=f"give raw={2 << 30} or more"):
        engine.add_region(raw="64M", align="1G")
    assert engine.regions == []
    assert engine.add_region(raw="64M").devices[0].name == "dax0.0"


@pytest.mark.parametrize("told", [False, True], ids=["", "plugins are told"])
def test_a_namespace_is_taken_from_its_driver_and_given_back(engine, told):
    load_plugins.cache_clear()
    if told:
        load_plugins()
    region = engine.add_region("4M")
    device = region.devices[0]
    with device.open() as file, file.mmap() as memory:
        memory[:5] = b"there"
    engine.write_attribute(f"{DRIVERS}/dax_pmem/unbind", "dax0.0")
    assert (region.devices, engine.regions) == ([], [region])
    with pytest.raises(KernelError):
        device.open()
    engine.write_attribute(f"{DRIVERS}/dax_pmem/bind", "dax0.0")
    assert region.devices == [device]
    with device.open() as file, file.mmap() as memory:
        assert memory[:5] == b"there"


def test_an_unplugged_namespace_is_what_it_was_when_it_returns(engine):
    region = engine.add_region("4M", align="4K")
    device = region.devices[0]
    with device.open() as file, file.mmap() as memory:
        memory[:5] = b"there"
    (before,) = shown(engine, f"{HOME}/dax0.0/uuid")
    region.unplug()
    assert engine.regions == []
    region.replug()
    assert shown(engine, f"{HOME}/dax0.0/uuid") == [before]
    assert (device.align, device.size) == (4096, 4 * M)
    with device.open() as file, file.mmap() as memory:
        assert memory[:5] == b"there"


def test_a_region_whose_namespace_has_always_been_raw(tmp_path):
    """It comes so from the state of an earlier engine."""
    with Engine(state=tmp_path) as engine:
        engine.add_region(raw="64M")
        engine.write_attribute(f"{DRIVERS}/dax_pmem/unbind", "dax0.0")
        engine.write_attribute(f"{HOME}/dax0.0/namespace", "")
        engine.write_attribute(f"{HOME}/namespace0.0/force_raw", "1")
        engine.write_attribute(f"{DRIVERS}/nd_pmem/bind", "namespace0.0")
        engine.run(["dd", "if=/dev/zero", "of=/dev/pmem0", "bs=4096", "seek=1", "count=1", "conv=notrunc"], check=True)
    with Engine(state=tmp_path) as engine:
        (region,) = engine.regions
        assert (region.id, region.provider, region.size, region.align) == (0, "pmem", 64 * M, 2 * M)
        assert (region.devices, region.available_size, engine.devices) == ([], 0, [])
        assert "pmem 64M" in repr(region)
        with pytest.raises(KernelError, match="static"):
            region.create_device()
        region.remove()
        assert engine.regions == []


def test_poison_shows_in_the_regions_badblocks(engine):
    device = engine.add_region(raw="256M").devices[0]
    device.inject_poison(4096, 1024)
    assert shown(engine, f"{HOME}/badblocks") == [f"{(6 * M + 4096) // 512} 2"]
    device.clear_poison(4096, 512)
    assert shown(engine, f"{HOME}/badblocks") == [f"{(6 * M + 4096) // 512 + 1} 1"]


@pytest.mark.dax(raw="32M", persistence="cpu_cache")
def test_a_marker_takes_raw_and_persistence(dax_device):
    assert dax_device.size == 30 * M
    assert shown(dax_device.engine, f"{HOME}/persistence_domain") == ["cpu_cache"]
