from __future__ import annotations

import errno

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.providers import find_provider
from daxemu.kernel.region import ALIGNMENTS, DaxRegion

from .fakes import BLOCK, FakePorts, G, M, errno_of


def make(start: int = G, size: int = G, align: int = 2 * M, provider: str = "hmem") -> DaxRegion:
    return DaxRegion(DaxCore(FakePorts()), 3, find_provider(provider), start=start, size=size, align=align)


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_a_region_may_have_any_alignment_that_the_cpu_maps(align: int):
    assert make(align=align).align == align


@pytest.mark.parametrize("align", [0, 1, 8192, 64 << 10, 1 * M, 4 * M, 2 * G])
def test_any_other_alignment_is_refused(align: int):
    assert errno_of(make, align=align) == errno.EINVAL


@pytest.mark.parametrize(
    ("start", "size", "align"),
    [(4096, G, 2 * M), (G, 2 * M + 4096, 2 * M), (2 * M, G, G), (G, 0, 4096), (G, -BLOCK, 2 * M), (100, 4096, 4096)],
)
def test_an_alignment_that_does_not_divide_the_region_is_refused(start: int, size: int, align: int):
    assert errno_of(make, start, size, align) == errno.ENOMEM


def test_a_new_region_is_all_available():
    region = make()
    assert region.available_size() == region.size == G
    assert (region.resource.start, region.resource.end) == (G, 2 * G - 1)


@pytest.mark.parametrize(
    ("provider", "static", "parent"),
    [
        ("pmem", True, "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region3/dax3.0"),
        ("hmem", False, "devices/platform/hmem.3"),
    ],
)
def test_the_provider_says_where_a_region_hangs(provider: str, static: bool, parent: str):
    region = make(provider=provider)
    assert region.is_static is static
    assert region.sysfs_parent == parent


def test_an_unknown_provider_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="'nfit'; there are: pmem, hmem"):
        find_provider("nfit")


def test_a_region_reference_is_not_dropped_twice():
    region = make()
    region.get()
    region.put()
    region.put()
    with pytest.raises(AssertionError, match="dropped twice"):
        region.put()
