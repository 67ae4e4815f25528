"""The nvdimm bus: how a namespace is divided, what its info block says, who has it."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.nvdimm.bus import NvdimmBus
from daxemu.kernel.nvdimm.commands import command
from daxemu.kernel.nvdimm.infoblock import INFO_SIZE, InfoBlock, Layout, lay_out, raw_size_for
from daxemu.kernel.nvdimm.region import NdRegion

from .fakes import G, M, booted, errno_of, fake_ports

START = 4 * G


@pytest.fixture
def bus() -> NvdimmBus:
    core = booted()
    core.nvdimm = NvdimmBus(core, control_major=245, dimm_major=244)
    return core.nvdimm


@pytest.fixture
def region(bus: NvdimmBus) -> NdRegion:
    return bus.add_region(start=START, raw=256 * M, align=2 * M)


def names(bus: NvdimmBus) -> list[str]:
    """Everything on both buses; what is bound has its driver behind it."""
    devices = [*bus.devices.values(), *bus.core.bus.devices.values()]
    return sorted(f"{device.name} {device.driver.name}" if device.driver else device.name for device in devices)


ENABLED = ["btt0.0", "dax0.0 dax_pmem", "dax0.0 device_dax", "dax0.1", "namespace0.0", "nmem0 nvdimm", "pfn0.0"]
ENABLED.append("region0 nd_region")


# -- layout: the sizes are those of real kernels ---------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "align", "mode", "offset", "size"),
    [
        (256 * M, 2 * M, "pmem", 6 * M, 250 * M),
        (256 * M, 4096, "pmem", 6 * M, 250 * M),
        (128 * M, 2 * M, "pmem", 4 * M, 124 * M),
        (6 * G, G, "pmem", G, 5 * G),
        (256 * M, 2 * M, "ram", 2 * M, 254 * M),
        (256 * M - 4096, 2 * M, "pmem", 6 * M, 248 * M),
    ],
)
def test_info_block_and_page_map_come_first(raw: int, align: int, mode: str, offset: int, size: int):
    assert lay_out(START, raw, align, mode)[:2] == (offset, size)


def test_a_namespace_smaller_than_its_alignment_has_no_room():
    assert errno_of(lay_out, START, 256 * M, G) == errno.ENXIO


@pytest.mark.parametrize("align", [4096, 2 * M, G])
@pytest.mark.parametrize("size", [1, 2, 3, 31, 1024, 5 * 1024])
def test_a_wanted_size_is_what_the_kernel_would_leave(size: int, align: int):
    size *= max(align, 2 * M)
    layout = raw_size_for(size, align)
    assert layout.cut == 0
    assert lay_out(START, layout.offset + size, align) == layout


def test_a_device_may_be_smaller_than_the_kernel_makes_them():
    assert raw_size_for(12288, 4096) == Layout(2 * M, 12288, 2 * M - 12288)


# -- the block ------------------------------------------------------------------------------------


def test_the_block_is_the_kernels():
    """Bytes and checksum as Linux 6.12 wrote them for this namespace."""
    uuid = bytes.fromhex("c5167e16a98c469387c4ca805cce7c88")
    block = InfoBlock(uuid, "pmem", 2 * M, Layout(4 * M, 124 * M, 0)).pack()
    assert len(block) == INFO_SIZE
    assert block[:16] == b"NVDIMM_DAX_INFO\0"
    assert block[48:80].hex() == "0000000001000400" + "0000400000000000" + "007c000000000000" + "0200000000000000"
    assert block[80:96].hex() == "00000000" + "00002000" + "00100000" + "40000000"
    assert block[-8:].hex() == "be04c38a47a72633"


def test_a_block_is_read_as_it_was_written():
    info = InfoBlock(bytes(range(16)), "ram", 4096, Layout(2 * M, 62 * M, 4096))
    assert InfoBlock.unpack(info.pack()) == info


@pytest.mark.parametrize("at", [0, 70, INFO_SIZE - 1])
def test_a_damaged_block_is_none(at: int):
    block = bytearray(InfoBlock(bytes(range(16)), "pmem", 2 * M, Layout(6 * M, 250 * M, 0)).pack())
    block[at] ^= 1
    assert InfoBlock.unpack(bytes(block)) is None


# -- who has the namespace -------------------------------------------------------------------------


def test_a_new_region_is_ready_to_use(bus: NvdimmBus, region: NdRegion):
    assert names(bus) == ENABLED
    device = bus.core.bus.devices["dax0.0"]
    assert (device.size, device.ranges[0].start) == (250 * M, START + 6 * M)
    assert device.region.sysfs_parent.endswith("/ndbus0/region0/dax0.0")
    assert (region.namespace.mode, region.seeds["dax"].name) == ("dax", "dax0.1")


def test_a_disabled_namespace_loses_its_claim_and_gets_it_back(bus: NvdimmBus, region: NdRegion):
    claim = region.claims["dax0.0"]
    bus.unbind(claim)
    claim.set_namespace("")
    assert "dax0.0" not in " ".join(names(bus))
    assert errno_of(bus.bind, bus.drivers["nd_pmem"], region.namespace) == errno.ENXIO
    assert names(bus) == ENABLED
    assert region.claims["dax0.0"].uuid == claim.uuid


def test_an_enabled_region_finds_its_namespace_after_the_seeds(bus: NvdimmBus, region: NdRegion):
    bus.unbind(region)
    assert names(bus) == ["nmem0 nvdimm", "region0"]
    bus.bind(bus.drivers["nd_region"], region)
    assert bus.devices["dax0.1"].driver.name == "dax_pmem"
    assert region.seeds["dax"].name == "dax0.0"
    assert bus.core.bus.devices["dax0.0"].region.sysfs_parent.endswith("region0/dax0.1")


def test_a_namespace_without_info_block_is_a_disk(bus: NvdimmBus, region: NdRegion):
    claim = region.claims["dax0.0"]
    bus.unbind(claim)
    claim.set_namespace("")
    region.memory.write(4096, bytes(4096))
    bus.bind(bus.drivers["nd_pmem"], region.namespace)
    assert region.namespace.disk.name == "pmem0"
    seed = region.seeds["dax"]
    seed.uuid, seed.mode = bytes(16), "pmem"
    seed.set_namespace("namespace0.0")
    assert errno_of(bus.bind, bus.drivers["dax_pmem"], seed) == errno.EBUSY
    bus.unbind(region.namespace)
    assert region.namespace.disk is None
    bus.bind(bus.drivers["dax_pmem"], seed)
    assert bus.core.bus.devices["dax0.0"].size == 250 * M


def test_btt_and_pfn_are_not_emulated(bus: NvdimmBus, region: NdRegion):
    claim = region.claims["dax0.0"]
    bus.unbind(claim)
    claim.set_namespace("")
    for kind in ("btt", "pfn"):
        region.seeds[kind].set_namespace("namespace0.0")
        assert errno_of(bus.bind, bus.drivers["nd_pmem"], region.seeds[kind]) == errno.EOPNOTSUPP
        region.seeds[kind].set_namespace("")


def test_a_claimed_namespace_is_claimed_once(region: NdRegion):
    assert errno_of(region.seeds["dax"].set_namespace, "namespace0.0") == errno.EBUSY
    assert errno_of(region.seeds["dax"].set_namespace, "namespace1.0") == errno.ENODEV
    assert errno_of(region.claims["dax0.0"].set_namespace, "") == errno.EBUSY


def test_drivers_take_what_they_are_for(bus: NvdimmBus, region: NdRegion):
    assert errno_of(bus.bind, bus.drivers["nd_region"], region.namespace) == errno.ENODEV
    assert errno_of(bus.bind, bus.drivers["nd_region"], region) == errno.EBUSY
    assert errno_of(bus.bind, bus.drivers["dax_pmem"], region.seeds["dax"]) == errno.ENODEV


def test_a_removed_region_leaves_nothing(bus: NvdimmBus, region: NdRegion):
    other = bus.add_region(start=START + G, raw=64 * M, align=4096)
    assert other.name == "region1"
    bus.remove_region(region)
    assert errno_of(bus.remove_region, region) == errno.ENODEV
    assert {name.split(".")[0].split(" ")[0] for name in names(bus)} == {
        "btt1", "dax1", "namespace1", "nmem1", "pfn1", "region1",
    }  # fmt: skip
    bus.core.shutdown()
    assert (bus.devices, bus.regions, fake_ports(bus.core).backings) == ({}, {}, [])


def test_numbers_of_regions_are_the_machines(bus: NvdimmBus, core: DaxCore):
    first = bus.core.region_ida.alloc()
    assert (first, bus.add_region(start=START, raw=64 * M, align=4096).id) == (0, 1)


def test_a_region_that_cannot_be_is_undone(bus: NvdimmBus):
    assert errno_of(bus.add_region, start=START, raw=64 * M, align=G) == errno.ENXIO
    assert errno_of(bus.add_region, start=START + 4096, raw=64 * M, align=8192, layout=Layout(2 * M, 2 * M, 0))
    assert (bus.devices, bus.regions, bus.core.regions) == ({}, {}, {})
    assert bus.add_region(start=START, raw=64 * M, align=4096).id == 0


@pytest.mark.parametrize(("raw", "align"), [(256 * M, 16 * M), (66 * M, 2 * M), (64 * M - 4096, 4096)])
def test_a_region_can_be_divided_anew(bus: NvdimmBus, raw: int, align: int):
    assert bus.add_region(start=START, raw=raw, align=4096).align == align


# -- broken memory --------------------------------------------------------------------------------


def inject(bus: NvdimmBus, start: int, length: int, *, notify: bool) -> None:
    """Call the firmware's function for it through /dev/ndctl0, as ndctl does."""
    argument = struct.pack("<QQII36xI", 0, 7, 17, 4, 0) + struct.pack("<QQBI", start, length, notify, 0)
    assert command(bus, "ndctl0", ord("N") << 8 | 10, argument)[-4:] == bytes(4)


def test_a_part_of_a_sector_breaks_the_sector(bus: NvdimmBus, region: NdRegion):
    inject(bus, START + 10 * 512 + 64, 64, notify=True)
    assert region.bad_blocks() == [(10, 1)]


def test_an_error_that_the_kernel_is_told_of_is_found_by_a_scrub(bus: NvdimmBus, region: NdRegion):
    inject(bus, START, 512, notify=False)
    assert (region.bad_blocks(), bus.scrubs) == ([], 0)
    inject(bus, START + M, 512, notify=True)
    assert (region.bad_blocks(), bus.scrubs) == ([(0, 1), (2048, 1)], 1)


# -- what user space is told: in this order on Linux 6.12 -------------------------------------------


def told(bus: NvdimmBus, operation: Callable[[], object]) -> list[str]:
    """Uevents of an operation, by the end of their path."""
    heard = fake_ports(bus.core).uevents
    before = len(heard)
    operation()
    return [f"{event.action} {event.device_path.partition('/ndbus0/')[2]}" for event in heard[before:]]


def test_uevents_of_a_namespace_that_is_disabled_and_enabled(bus: NvdimmBus, region: NdRegion):
    claim = region.claims["dax0.0"]
    assert told(bus, lambda: bus.unbind(claim)) == [
        "unbind region0/dax0.0/dax0.0",
        "remove region0/dax0.0/dax0.0",
        "unbind region0/dax0.0",
    ]
    assert told(bus, lambda: claim.set_namespace("")) == ["remove region0/dax0.0"]
    assert told(bus, lambda: errno_of(bus.bind, bus.drivers["nd_pmem"], region.namespace)) == [
        "add region0/dax0.0",
        "add region0/dax0.0/dax0.0",
        "bind region0/dax0.0/dax0.0",
        "bind region0/dax0.0",
    ]


def test_uevents_of_a_region_that_is_disabled_and_enabled(bus: NvdimmBus, region: NdRegion):
    events = told(bus, lambda: bus.unbind(region))
    assert events[:4] == [
        "unbind region0/dax0.0/dax0.0",
        "remove region0/dax0.0/dax0.0",
        "unbind region0/dax0.0",
        "remove region0/dax0.0",
    ]
    gone = ["remove region0/btt0.0", "remove region0/dax0.1", "remove region0/namespace0.0", "remove region0/pfn0.0"]
    assert (sorted(events[4:-1]), events[-1]) == (gone, "unbind region0")
    assert told(bus, lambda: bus.bind(bus.drivers["nd_region"], region)) == [
        "add region0/namespace0.0",
        "add region0/btt0.0",
        "add region0/pfn0.0",
        "add region0/dax0.0",
        "add region0/dax0.1",
        "add region0/dax0.1/dax0.0",
        "bind region0/dax0.1/dax0.0",
        "bind region0/dax0.1",
        "bind region0",
    ]


def test_uevents_of_a_disk(bus: NvdimmBus, region: NdRegion):
    claim = region.claims["dax0.0"]
    bus.unbind(claim)
    claim.set_namespace("")
    region.namespace.force_raw = True
    assert told(bus, lambda: bus.bind(bus.drivers["nd_pmem"], region.namespace)) == [
        "add region0/namespace0.0/block/pmem0",
        "bind region0/namespace0.0",
    ]
    assert told(bus, lambda: bus.unbind(region.namespace)) == [
        "remove region0/namespace0.0/block/pmem0",
        "unbind region0/namespace0.0",
    ]
