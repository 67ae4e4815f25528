"""The pytest plugin: dax devices as fixtures.

Imported in every pytest run of whoever has daxemu installed; so nothing of daxemu is imported
before a test asks for a device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from daxemu.device import DaxDevice
    from daxemu.engine import Engine
    from daxemu.mapping import DaxMapping
    from daxemu.pmem.checks import Check
    from daxemu.pmem.exploration import Exploration
    from daxemu.pmem.points import Scan
    from daxemu.region import DaxRegion

    Workload = Callable[[DaxMapping], object] | Sequence[str | os.PathLike[str]]

__all__ = ["DaxCrash", "DaxFactory", "DaxTemplate", "DaxTemplateFactory"]

_SETTINGS = {
    "size": ("64M", "bytes that a device or region offers"),
    "align": ("2M", "alignment of mappings: 4K, 2M or 1G"),
    "provider": ("pmem", "what the device hangs on: pmem (one static device) or hmem (devices come and go)"),
    "backend": ("tmpfs", "backing store; see 'daxemu plugins'"),
}
_OF_A_TEST = (*_SETTINGS, "raw", "persistence")  # what a marker may say


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
        f"dax({', '.join(f'{name}=' for name in _OF_A_TEST)}): what the dax fixtures of a test make",
    )


def _setting(config: pytest.Config, name: str) -> str:
    return str(config.getoption(f"--daxemu-{name}") or config.getini(f"daxemu_{name}"))


def pytest_report_header(config: pytest.Config) -> str:
    """What devices will be made of."""
    return "daxemu: " + ", ".join(f"{name} {_setting(config, name)}" for name in _SETTINGS)


class DaxFactory(Protocol):
    """Makes regions in the test's engine; what is not given comes from marker, options and ini."""

    def __call__(
        self,
        *,
        size: int | str = ...,
        raw: int | str = ...,
        align: int | str = ...,
        provider: str = ...,
        backend: str = ...,
        persistence: str = ...,
    ) -> DaxRegion:
        """Return a new region. A ``pmem`` region has its device; an ``hmem`` region is empty."""


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings by the test's own markers, the nearest first."""
    values: dict[str, Any] = {}
    for mark in request.node.iter_markers("dax"):
        unknown = mark.kwargs.keys() - set(_OF_A_TEST)
        if mark.args or unknown:
            wrong = ", ".join([*map(repr, mark.args), *sorted(unknown)])
            raise pytest.UsageError(f"@pytest.mark.dax does not know {wrong}; it takes {', '.join(_OF_A_TEST)} by name")
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
    settings = {name: _setting(request.config, name) for name in _SETTINGS}
    marked = _marked(request)

    def make(**given: Any) -> DaxRegion:
        from daxemu.errors import UnavailableError

        chosen = marked | given
        wanted = settings | chosen
        if "raw" in chosen and "size" not in chosen:
            del wanted["size"]
        try:
            return dax_engine.add_region(**wanted)
        except UnavailableError as error:
            pytest.skip(str(error))

    return make


class DaxTemplate:
    """A device that was prepared once, and what it held then. Made by ``dax_template``."""

    def __init__(self, device: DaxDevice) -> None:
        self._device = device
        self._size = device.size
        self._snapshot = device.snapshot()

    def clone(self) -> DaxDevice:
        """Return the device as it was prepared: its size, its driver, its bytes; only what changed is written."""
        if self._device.size != self._size:
            self._device.resize(self._size)
        self._device.restore(self._snapshot)
        self._device.engine._make_ready(self._device._device)
        return self._device


class DaxTemplateFactory(Protocol):
    """Prepares devices once in a test run."""

    def __call__(
        self,
        prepare: Callable[[DaxDevice], object],
        *,
        size: int | str = ...,
        align: int | str = ...,
        provider: str = ...,
        backend: str = ...,
    ) -> DaxTemplate:
        """Make a device, have ``prepare`` work on it, and keep what came of it."""


@pytest.fixture(scope="session")
def dax_template(request: pytest.FixtureRequest) -> Iterator[DaxTemplateFactory]:
    """Prepare a device once, for many tests: ``dax_template(prepare, size="64M")``, in a session fixture of yours.

    ``prepare(device)`` makes a pool, fills it, and so on. ``dax_clone`` hands it to each test.
    """
    from contextlib import ExitStack

    from daxemu.engine import Engine
    from daxemu.errors import UnavailableError

    with ExitStack() as engines:

        def make(prepare: Callable[[DaxDevice], object], **given: Any) -> DaxTemplate:
            wanted = {name: _setting(request.config, name) for name in _SETTINGS} | given
            engine = engines.enter_context(Engine())
            try:
                region = engine.add_region(wanted.pop("size"), **wanted)
            except UnavailableError as error:
                pytest.skip(str(error))
            device = region.devices[0] if region.devices else region.create_device()
            prepare(device)
            return DaxTemplate(device)

        yield make


@pytest.fixture
def dax_clone() -> Callable[[DaxTemplate], DaxDevice]:
    """Get a prepared device as fresh as after its preparation: ``dax_clone(template)``.

    It costs what the tests before have changed, not the size of the device.
    """
    return DaxTemplate.clone


@pytest.fixture
def dax_region(dax_factory: DaxFactory) -> DaxRegion:
    """A region: with its device if it is a pmem region (the default), empty if it is an hmem region."""
    return dax_factory()


@pytest.fixture
def dax_device(dax_region: DaxRegion) -> DaxDevice:
    """A device, /dev/dax0.0, over all of ``dax_region``: by default 64 MiB, 2 MiB aligned, nvdimm-backed."""
    return dax_region.devices[0] if dax_region.devices else dax_region.create_device()


class DaxCrash:
    """Tries what a power failure may leave of a device. Made by ``dax_crash``."""

    def __init__(self, device: DaxDevice, directory: Path) -> None:
        self.device = device
        self._directory = directory
        self._recordings = 0

    def _do(self, workload: Workload) -> None:
        if callable(workload):
            with self.device.open() as file, file.mmap() as memory:
                workload(memory)
        else:
            self.device.run([os.fspath(part) for part in workload], check=True)

    def explore(
        self,
        workload: Workload,
        check: Check,
        *,
        prepare: Workload | None = None,
        fail: bool = True,
        scan: Scan | None = None,
        **options: Any,
    ) -> Exploration:
        """Record ``workload``, then try ``check`` on every state that a power failure meanwhile may have left.

        ``workload`` is a callable that gets the mapped device, or a command; ``prepare`` as well, which is
        done before and is durable. ``check`` and options are those of ``daxemu.pmem.explore``. The test fails if
        a state does, and shows the fewest lines that must be missing for it; with ``fail=False`` it goes on.
        Lines that were stored and not flushed are looked for at the crash points, or as ``scan`` says for
        ``DaxDevice.record``.
        """
        from daxemu.pmem import Recording, explore
        from daxemu.pmem.explorer import refuse_options
        from daxemu.pmem.points import scan_for
        from daxemu.pmem.report import report_text

        __tracebackhide__ = True
        refuse_options(check, **options)
        if prepare is not None:
            self._do(prepare)
        self._recordings += 1
        directory = self._directory / f"{self._recordings}.daxcrash"
        scan = scan_for(options.get("points", "fences")) if scan is None else scan
        with self.device.record(directory, scan=scan):
            self._do(workload)
        with Recording(directory) as recording:
            result = explore(recording, check, **options)
            if fail and not result.ok:
                pytest.fail("\n".join(report_text(result, recording, command=False)), pytrace=False)
        return result


@pytest.fixture
def dax_crash(dax_device: DaxDevice, tmp_path: Path) -> DaxCrash:
    """Find what a power failure breaks: ``dax_crash.explore(workload, check)``, on the test's ``dax_device``."""
    return DaxCrash(dax_device, tmp_path)
