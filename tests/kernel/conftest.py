from __future__ import annotations

from collections.abc import Callable

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.providers import find_provider
from daxemu.kernel.region import DaxRegion

from .fakes import BLOCK, REGION_START, FakePorts, booted, fake_ports


@pytest.fixture
def core() -> DaxCore:
    return booted()


@pytest.fixture
def ports(core: DaxCore) -> FakePorts:
    return fake_ports(core)


@pytest.fixture
def add_region(core: DaxCore) -> Callable[..., DaxRegion]:
    def add(provider: str = "hmem", *, blocks: int = 16, align: int = BLOCK, idle: bool = True) -> DaxRegion:
        return core.add_region(find_provider(provider), start=REGION_START, size=blocks * BLOCK, align=align, idle=idle)

    return add


@pytest.fixture
def region(add_region: Callable[..., DaxRegion]) -> DaxRegion:
    """A dynamic region of 16 blocks of 2 MiB whose first device, dax0.0, is empty."""
    return add_region()


@pytest.fixture
def device(core: DaxCore, region: DaxRegion) -> DevDax:
    """dax0.1 of two blocks, bound and alive."""
    return core.create_device(region, 2 * BLOCK)
