"""The pytest plugin: dax devices as fixtures.

Imported in every pytest run of whoever has daxemu installed; so nothing of daxemu is imported
before a test asks for a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from daxemu.device import DaxDevice
    from daxemu.engine import Engine
    from daxemu.region import DaxRegion

__all__ = ["DaxFactory"]

_SETTINGS = {
    "size": ("64M", "bytes that a device or region offers"),
    "align": ("2M", "alignment of mappings: 4K, 2M or 1G"),
    "provider": ("pmem", "what the device hangs on: pmem (one static device) or hmem (devices come and go)"),
    "backend": ("tmpfs", "backing store; see 'daxemu plugins'"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Every setting as an option and as an ini key."""
    group = parser.getgroup("daxemu", "emulated dax devices")
    for name, (default, text) in _SETTINGS.items():
        group.addoption(f"--daxemu-{name}", metavar=name.upper(), help=f"{text} (default {default})")
        parser.addini(f"daxemu_{name}", f"{text} (default {default})", default=default)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"dax({', '.join(f'{name}=' for name in _SETTINGS)}): what the dax fixtures of a test make",
    )


def _setting(config: pytest.Config, name: str) -> str:
    return str(config.getoption(f"--daxemu-{name}") or config.getini(f"daxemu_{name}"))


def pytest_report_header(config: pytest.Config) -> str:
    """What devices will be made of."""
    return "daxemu: " + ", ".join(f"{name} {_setting(config, name)}" for name in _SETTINGS)


class DaxFactory(Protocol):
    """Makes regions in the test's engine; what is not given comes from marker, options and ini."""

    def __call__(
        self, *, size: int | str = ..., align: int | str = ..., provider: str = ..., backend: str = ...
    ) -> DaxRegion:
        """Return a new region. A ``pmem`` region has its device; an ``hmem`` region is empty."""


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings by the test's own markers, the nearest first."""
    values: dict[str, Any] = {}
    for mark in request.node.iter_markers("dax"):
        unknown = mark.kwargs.keys() - _SETTINGS.keys()
        if mark.args or unknown:
            wrong = ", ".join([*map(repr, mark.args), *sorted(unknown)])
            raise pytest.UsageError(f"@pytest.mark.dax does not know {wrong}; it takes {', '.join(_SETTINGS)} by name")
        values = mark.kwargs | values
    return values


@pytest.fixture
def dax_engine() -> Iterator[Engine]:
    """An emulated machine without devices, for this test alone."""
    from daxemu.engine import Engine

    with Engine() as engine:
        yield engine


@pytest.fixture
def dax_factory(request: pytest.FixtureRequest, dax_engine: Engine) -> DaxFactory:
    """Make regions: ``dax_factory(size="4G", provider="hmem")``. All are gone after the test."""
    settings = {name: _setting(request.config, name) for name in _SETTINGS} | _marked(request)

    def make(**given: Any) -> DaxRegion:
        from daxemu.errors import UnavailableError

        wanted = settings | given
        try:
            return dax_engine.add_region(wanted.pop("size"), **wanted)
        except UnavailableError as error:
            pytest.skip(str(error))

    return make


@pytest.fixture
def dax_region(dax_factory: DaxFactory) -> DaxRegion:
    """A region: with its device if it is a pmem region (the default), empty if it is an hmem region."""
    return dax_factory()


@pytest.fixture
def dax_device(dax_region: DaxRegion) -> DaxDevice:
    """A device, /dev/dax0.0, over all of ``dax_region``: by default 64 MiB, 2 MiB aligned, nvdimm-backed."""
    return dax_region.devices[0] if dax_region.devices else dax_region.create_device()
