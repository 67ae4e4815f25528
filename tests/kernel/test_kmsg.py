"""What the kernel logs, as recorded from real kernels."""

from __future__ import annotations

import errno

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.flavour import FLAVOURS
from daxemu.kernel.kmsg import mmap_refused
from daxemu.kernel.providers import find_provider
from daxemu.kernel.ranges import DaxRange

from .fakes import BLOCK, REGION_START, FakePorts, errno_of, fake_ports

FAILED = {
    "6.1": (4, "device_dax: probe of dax0.0 failed with error -{}"),
    "6.12": (3, "device_dax dax0.0: probe with driver device_dax failed with error -{}"),
}


@pytest.fixture(params=FAILED)
def empty(request) -> DevDax:
    """dax0.0 without memory, on each kernel."""
    core = DaxCore(FakePorts(), flavour=FLAVOURS[request.param])
    core.boot()
    region = core.add_region(find_provider("hmem"), start=REGION_START, size=16 * BLOCK, align=BLOCK, idle=True)
    return region.children["dax0.0"]


def failed(device: DevDax, number: int) -> tuple[int, str]:
    """The line about a probe that has failed."""
    level, text = FAILED[device.core.flavour.name]
    return level, text.format(number)


def kmsg(device: DevDax) -> list[tuple[int, str]]:
    """The lines since the last time."""
    lines = list(fake_ports(device.core).kmsg)
    fake_ports(device.core).kmsg.clear()
    return lines


POISONED = (4, "device_dax dax0.0: dynamic-dax with pre-populated page map")


def test_a_range_in_use_is_refused_and_poisons_the_device(empty: DevDax):
    empty.resize(BLOCK)
    empty.core.reserved.append((REGION_START + BLOCK - 1, REGION_START + BLOCK))
    assert errno_of(empty.core.bus.bind, empty) == errno.EBUSY
    last = REGION_START + BLOCK - 1
    refused = (4, f"device_dax dax0.0: mapping0: {REGION_START:#x}-{last:#x} could not reserve range")
    assert kmsg(empty) == [refused, failed(empty, 16)]
    assert empty.driver is None

    empty.core.reserved.clear()
    empty.resize(0)
    empty.resize(2 * BLOCK)
    for _ in range(2):
        assert errno_of(empty.core.bus.bind, empty) == errno.EINVAL
        assert kmsg(empty) == [POISONED, failed(empty, 22)]
    assert errno_of(empty.core.delete_device, empty) == errno.EBUSY


def test_a_range_that_begins_inside_a_sub_section_is_refused_and_poisons(empty: DevDax):
    empty.add_range(REGION_START + 4096, REGION_START + 4096 + BLOCK - 1)
    assert errno_of(empty.core.bus.bind, empty) == errno.EINVAL
    first = REGION_START // 4096 + 1
    misaligned = (4, f"Misaligned __add_pages start: {first:#x} end: {first + 511:#x}")
    assert kmsg(empty) == [misaligned, failed(empty, 22)]
    empty.resize(0)
    empty.resize(BLOCK)
    assert errno_of(empty.core.bus.bind, empty) == errno.EINVAL
    assert kmsg(empty)[0] == POISONED


def test_bytes_below_a_page_do_not_count(empty: DevDax):
    empty.add_range(REGION_START + 0x123, REGION_START + 0x122 + BLOCK)
    empty.core.bus.bind(empty)
    assert kmsg(empty) == []


def test_a_device_that_was_bound_once_is_not_poisoned(empty: DevDax):
    empty.resize(BLOCK)
    for _ in range(2):
        empty.core.bus.bind(empty)
        empty.core.bus.unbind(empty)
    assert kmsg(empty) == []


def test_that_there_is_no_device_is_not_logged(empty: DevDax):
    assert errno_of(empty.core.bus.bind, empty) == errno.ENXIO
    assert errno_of(empty.core.bus.bind, empty, "nobody") == errno.ENODEV
    assert kmsg(empty) == []


def test_an_empty_range_that_is_not_the_first(empty: DevDax):
    empty.add_range(REGION_START, REGION_START - 1)
    assert kmsg(empty) == []
    empty.add_range(REGION_START, REGION_START + BLOCK - 1)
    assert errno_of(empty.add_range, REGION_START, REGION_START - 1) == errno.EBUSY
    assert kmsg(empty) == [(4, "dax dax0.0: 0-size allocation must be first")]


def test_a_static_device_of_several_ranges(core: DaxCore, add_region):
    region = add_region("pmem", idle=False)
    device = region.children["dax0.0"]
    core.bus.unbind(device)
    device.ranges.append(DaxRange(device.name, device.ranges[0].end + 1, device.ranges[0].end + BLOCK))
    fake_ports(core).kmsg.clear()
    assert errno_of(core.bus.bind, device) == errno.EINVAL
    assert kmsg(device)[0] == (4, "device_dax dax0.0: static pgmap / multi-range device conflict")
    device.ranges.pop()


@pytest.mark.parametrize(
    ("shared", "why"),
    [(False, "attempted private mapping"), (True, "unaligned vma (0x7f0000001000 - 0x7f0000201000, 0x1fffff)")],
)
def test_a_mapping_that_is_refused(device: DevDax, shared: bool, why: str):
    mmap_refused(device, "fio", shared=shared, start=0x7F0000001000, end=0x7F0000201000)
    assert kmsg(device) == [(6, f"device_dax dax0.1: fio: dax_mmap: fail, {why}")]


@pytest.mark.parametrize(("flavour", "answer"), [("6.1", errno.ENXIO), ("6.12", None)])
def test_a_range_for_a_region_that_is_gone(flavour: str, answer: int | None):
    core = DaxCore(FakePorts(), flavour=FLAVOURS[flavour])
    core.boot()
    region = core.add_region(find_provider("hmem"), start=REGION_START, size=4 * BLOCK, align=BLOCK, idle=True)
    device = region.children["dax0.0"]
    device.get()
    core.remove_region(region)
    assert errno_of(device.add_range, REGION_START, REGION_START + BLOCK - 1) == answer
    assert device.ranges == []
    device.put()
