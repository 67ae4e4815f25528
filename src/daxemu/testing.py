"""For authors of backing stores: what every store must do, as tests for their own test file.

.. code-block:: python

    from daxemu.testing import BackingStoreSuite
    from daxemu_mine import MyStore

    class TestMyStore(BackingStoreSuite):
        store_class = MyStore

Set ``where`` on the class too if the store wants one. Where the store does not work the tests are
skipped, with what its probe says; with ``CI=true`` they fail.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from daxemu.backing import BackingFile, BackingStore, Probe
from daxemu.engine import Engine
from daxemu.errors import DaxBusError, KernelError, UsageError
from daxemu.plugins import load_plugins, plugin_of, registered_stores

__all__ = ["BackingStoreSuite"]

_READ = "import mmap, os, sys; fd = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(fd, int(sys.argv[2]))"
_EXCHANGE = f"{_READ}; sys.stdout.write(m[:5].decode()); m[5:10] = b'reply'"
_REVOKED = f"{_READ}; m[0] = 1; print('ready', flush=True); sys.stdin.readline(); m[0]; print('survived', flush=True)"


def _open_files() -> list[str]:
    """What this process has open, by what the descriptors lead to."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own
            found.append(str(fd.readlink()))
    return sorted(found)


class BackingStoreSuite:
    """Tests of one store; subclass it in a test file and set ``store_class``."""

    store_class: ClassVar[type[BackingStore]]
    where: ClassVar[str] = ""

    # -- what the tests stand on --------------------------------------------------------------

    @pytest.fixture
    def store(self) -> BackingStore:
        """A store to be tested by itself."""
        probe = self.store_class.probe(self.where)
        if not probe.available:
            if os.environ.get("CI") == "true":
                pytest.fail(f"backend {self.store_class.name!r} does not work here: {probe}")
            pytest.skip(str(probe))
        return self.store_class(self.where)

    @pytest.fixture
    def unit(self, store: BackingStore) -> int:
        """Bytes that a device of this store can be made of: its alignment here."""
        return max(2 << 20, store.page_size)

    @pytest.fixture
    def registered(self, store: BackingStore) -> Iterator[None]:
        """The store is known by its name, whether its plugin is installed or not."""
        known = type(store) in registered_stores()
        stranger = plugin_of(type(store))
        if not known:
            load_plugins().register(stranger)
        yield
        if not known:
            load_plugins().unregister(stranger)

    @pytest.fixture
    def engine(self, registered: None) -> Iterator[Engine]:  # noqa: ARG002
        """An emulated machine."""
        with Engine() as machine:
            yield machine

    @property
    def backend(self) -> str:
        """What users write."""
        return f"{self.store_class.name}:{self.where}" if self.where else self.store_class.name

    def _write(self, fd: int, at: int, data: bytes) -> None:
        """Write by a mapping: not every store's files take write(2)."""
        with mmap.mmap(fd, os.fstat(fd).st_size) as memory:
            memory[at : at + len(data)] = data

    def _read(self, fd: int, at: int, length: int) -> bytes:
        with mmap.mmap(fd, os.fstat(fd).st_size) as memory:
            return memory[at : at + length]

    # -- the store by itself ------------------------------------------------------------------

    def test_a_probe_says_how_it_is_and_changes_nothing(self) -> None:
        self.store_class.probe(self.where)  # what it keeps for the next time is its own affair
        before = _open_files()
        probe = self.store_class.probe(self.where)
        assert isinstance(probe, Probe)
        assert probe.available or (probe.reason and probe.remedy), "say why not, and what would help"
        assert _open_files() == before

    def test_a_name_and_a_page_size(self, store: BackingStore) -> None:
        assert store.name.isidentifier()
        assert store.page_size >= mmap.PAGESIZE
        assert store.page_size & (store.page_size - 1) == 0, "a power of two"

    def test_a_new_file_has_its_size_and_is_zero(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", 2 * unit)
        assert os.fstat(fd).st_size == 2 * unit
        assert not os.get_inheritable(fd), "programs must not inherit it"
        assert self._read(fd, 0, 4096) == bytes(4096)
        assert self._read(fd, 2 * unit - 4096, 4096) == bytes(4096)
        store.destroy(fd)

    def test_an_empty_file_can_be_made_and_grow(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", 0)
        store.resize(fd, unit)
        assert os.fstat(fd).st_size == unit
        store.destroy(fd)

    def test_each_file_is_an_inode_of_its_own_that_stays(self, store: BackingStore, unit: int) -> None:
        files = [BackingFile(store.create(f"conformance{n}", unit), store) for n in range(3)]
        before = [file.identity for file in files]
        assert len(set(before)) == 3
        for file in files:
            file.resize(2 * unit)
        assert [file.identity for file in files] == before
        for file in files:
            file.close()

    def test_the_same_bytes_through_every_descriptor(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", unit)
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        with mmap.mmap(fd, unit) as one, mmap.mmap(again, unit) as other:
            one[unit - 3 :] = b"abc"
            assert other[unit - 3 :] == b"abc"
        os.close(again)
        store.destroy(fd)

    def test_growing_adds_zeros_and_keeps_the_rest(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", unit)
        self._write(fd, unit - 4, b"tail")
        store.resize(fd, 2 * unit)
        assert self._read(fd, unit - 4, 8) == b"tail" + bytes(4)
        store.destroy(fd)

    def test_what_is_cut_off_is_gone(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", 2 * unit)
        self._write(fd, unit, b"gone")
        store.resize(fd, unit)
        store.resize(fd, 2 * unit)
        assert self._read(fd, unit, 4) == bytes(4)
        store.destroy(fd)

    def test_reserved_memory_can_be_written_to_the_end(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", 2 * unit)
        store.reserve(fd, 2 * unit)
        self._write(fd, 0, b"x" * (2 * unit))
        store.destroy(fd)

    def test_more_than_there_is_is_refused_and_changes_nothing(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", unit)

        def ask() -> None:
            store.resize(fd, 1 << 62)
            store.reserve(fd, 1 << 62)

        with pytest.raises(OSError) as caught:  # noqa: PT011 - which error is looked at below
            ask()
        assert caught.value.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EINVAL)
        store.resize(fd, unit)
        self._write(fd, 0, b"still works")
        store.destroy(fd)

    def test_bytes_are_copied_between_files(self, store: BackingStore, unit: int) -> None:
        source, target = store.create("source", 2 * unit), store.create("target", 2 * unit)
        self._write(source, unit + 100, b"payload")
        store.copy(source, unit, target, 0, unit)
        assert self._read(target, 100, 7) == b"payload"
        assert self._read(source, unit + 100, 7) == b"payload"
        store.destroy(source)
        store.destroy(target)

    def test_bytes_go_to_the_park_and_come_back(self, store: BackingStore, unit: int) -> None:
        fd, park = store.create("device", 2 * unit), store.park("park", 4 * unit)
        self._write(fd, unit, b"left behind")
        store.copy(fd, unit, park, 3 * unit, unit)
        store.resize(fd, unit)
        store.resize(fd, 2 * unit)
        store.copy(park, 3 * unit, fd, unit, unit)
        store.discard(park, 3 * unit, unit)
        assert self._read(fd, unit, 11) == b"left behind"
        store.destroy(fd)
        store.destroy(park)

    def test_discarded_bytes_are_zero(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", 2 * unit)
        self._write(fd, 0, b"x" * (2 * unit))
        store.discard(fd, 0, unit)
        assert self._read(fd, 0, unit) == bytes(unit)
        assert self._read(fd, unit, 1) == b"x"
        store.destroy(fd)

    def test_a_clone_is_equal_and_independent(self, store: BackingStore, unit: int) -> None:
        fd = store.create("conformance", unit)
        self._write(fd, 0, b"original")
        twin = store.clone(fd, "twin")
        assert os.fstat(twin).st_size == unit
        assert self._read(twin, 0, 8) == b"original"
        self._write(twin, 0, b"twin")
        self._write(fd, 4, b"mine")
        assert self._read(fd, 0, 8) == b"origmine"
        assert self._read(twin, 0, 8) == b"twininal"
        store.destroy(fd)
        store.destroy(twin)

    def test_nothing_is_left_of_a_destroyed_file(self, store: BackingStore, unit: int) -> None:
        store.destroy(store.create("warm-up", unit))
        before = _open_files()
        fd = store.create("conformance", unit)
        twin = store.clone(fd, "twin")
        store.destroy(fd)
        store.destroy(twin)
        assert _open_files() == before

    # -- devices made of it -------------------------------------------------------------------

    def test_a_device_and_a_program_see_the_same_bytes(self, engine: Engine, unit: int) -> None:
        device = engine.add_region(2 * unit, align=unit, backend=self.backend).devices[0]
        with device.open() as file, file.mmap() as memory:
            memory[:5] = b"hello"
            line = [sys.executable, "-c", _EXCHANGE, device.path, str(unit)]
            assert device.run(line, check=True, capture_output=True, text=True).stdout == "hello"
            assert memory[5:10] == b"reply"

    def test_a_revoked_device_is_sigbus_and_keeps_its_bytes(self, engine: Engine, unit: int) -> None:
        device = engine.add_region(2 * unit, align=unit, backend=self.backend).devices[0]
        line = [sys.executable, "-c", _REVOKED, device.path, str(unit)]
        with (
            device.open() as file,
            file.mmap() as memory,
            device.popen(line, stdin=-1, stdout=-1, text=True) as program,
        ):
            assert program.stdout is not None
            assert program.stdin is not None
            memory[1:5] = b"kept"
            assert program.stdout.readline() == "ready\n"
            device.kill()
            with pytest.raises(DaxBusError):
                memory[0]
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.wait(30) == -7, "the program should have died of SIGBUS"
            device.revive()
            assert memory[0:5] == b"\x01kept"

    def test_mapping_past_the_end_works_and_touching_does_not(self, engine: Engine, unit: int) -> None:
        device = engine.add_region(unit, align=unit, backend=self.backend).devices[0]
        with device.open() as file, file.mmap(2 * unit) as memory:
            memory[unit - 1] = 7
            with pytest.raises(DaxBusError):
                memory[unit] = 1
            assert device.size == unit
        assert os.fstat(device._device.backing.fd).st_size == unit  # type: ignore[attr-defined]

    def test_memory_outlives_devices(self, engine: Engine, unit: int) -> None:
        region = engine.add_region(4 * unit, align=unit, provider="hmem", backend=self.backend)
        device = region.create_device(3 * unit)
        with device.open() as file, file.mmap() as memory:
            memory[2 * unit : 2 * unit + 4] = b"tail"
        device.resize(unit)
        with device.open() as file, file.mmap(3 * unit) as memory:
            with pytest.raises(DaxBusError):
                memory[2 * unit]
            device.resize(3 * unit)
            assert memory[2 * unit : 2 * unit + 4] == b"tail"
        device.destroy()
        heir = region.create_device(3 * unit)
        with heir.open() as file, file.mmap() as memory:
            assert memory[2 * unit : 2 * unit + 4] == b"tail"

    def test_what_does_not_fit_is_an_errno_and_nothing_is_made(self, engine: Engine, unit: int) -> None:
        with pytest.raises(KernelError) as caught:
            engine.add_region(1 << 60, align=unit, backend=self.backend, reserve=True)
        assert caught.value.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EINVAL)
        assert engine.regions == []

    def test_an_alignment_smaller_than_the_pages_is_refused(self, engine: Engine, store: BackingStore) -> None:
        if store.page_size == mmap.PAGESIZE:
            engine.add_region("4M", align="4K", backend=self.backend)
        else:
            with pytest.raises(UsageError, match="align to that"):
                engine.add_region(store.page_size, align="4K", backend=self.backend)

    @pytest.mark.usefixtures("registered")
    def test_nothing_is_left_of_a_machine(self, store: BackingStore, unit: int) -> None:
        store.destroy(store.create("warm-up", unit))
        before = _open_files()
        with Engine() as machine:
            machine.add_region(unit, align=unit, backend=self.backend)
        assert _open_files() == before
