"""The built-in store passes the suite that authors of stores run; and the suite finds what is wrong."""

import os

import pytest

from daxemu import Engine
from daxemu.backing.file import FileStore
from daxemu.backing.tmpfs import TmpfsStore
from daxemu.testing import BackingStoreSuite


class TestHuge(BackingStoreSuite):
    store_class = TmpfsStore


class TestMemfd(BackingStoreSuite):
    store_class = TmpfsStore
    where = "memfd"


class TestFile(BackingStoreSuite):
    store_class = FileStore

    @pytest.fixture(autouse=True)
    def directory(self, tmp_path, monkeypatch):
        monkeypatch.setattr(type(self), "where", str(tmp_path))


class Inheritable(TmpfsStore):
    name = "inheritable"

    def create(self, label, size):
        fd = super().create(label, size)
        os.set_inheritable(fd, True)
        return fd


class Forgetful(TmpfsStore):
    name = "forgetful"

    def destroy(self, fd):
        pass


class Grudging(TmpfsStore):
    name = "grudging"

    def resize(self, fd, size):
        if size > os.fstat(fd).st_size:
            super().resize(fd, size)


class SharedTwin(TmpfsStore):
    name = "sharedtwin"

    def clone(self, fd, label):  # noqa: ARG002
        return os.dup(fd)


class NoPark(TmpfsStore):
    name = "nopark"

    def copy(self, source, source_at, target, target_at, length):
        pass


@pytest.mark.parametrize(
    ("store", "complaint"),
    [
        (Inheritable, "test_a_new_file_has_its_size_and_is_zero"),
        (Forgetful, "test_nothing_is_left_of_a_destroyed_file"),
        (Grudging, "test_what_is_cut_off_is_gone"),
        (SharedTwin, "test_a_clone_is_equal_and_independent"),
        (NoPark, "test_memory_outlives_devices"),
    ],
)
def test_the_suite_finds_what_is_wrong(pytester, store, complaint):
    pytester.makepyfile(
        f"""
        from daxemu.testing import BackingStoreSuite
        from tests.backing.test_conformance import {store.__name__}

        class TestIt(BackingStoreSuite):
            store_class = {store.__name__}
        """
    )
    pytester.syspathinsert(os.path.abspath("."))
    pytester.runpytest("-k", complaint).assert_outcomes(failed=1, deselected=21)


def test_a_store_that_does_not_work_here_is_skipped_and_fails_in_ci(pytester, monkeypatch):
    pytester.makepyfile(
        """
        from daxemu.backing import Probe
        from daxemu.backing.tmpfs import TmpfsStore
        from daxemu.testing import BackingStoreSuite

        class Absent(TmpfsStore):
            @classmethod
            def probe(cls, where=""):
                return Probe(False, "no tape in drive", "insert one")

        class TestIt(BackingStoreSuite):
            store_class = Absent
        """
    )
    monkeypatch.delenv("CI", raising=False)
    pytester.runpytest("-rs").stdout.fnmatch_lines(["SKIPPED * no tape in drive; insert one"])
    monkeypatch.setenv("CI", "true")
    pytester.runpytest().stdout.fnmatch_lines(["*backend 'tmpfs' does not work here: no tape in drive; insert one*"])


def test_bytes_that_stayed_are_not_overwritten_by_what_was_given_up_before(tmp_path):
    backend = f"file:{tmp_path}"
    with Engine() as engine:
        device = engine.add_region("8M", provider="hmem", backend=backend).create_device("8M")
        with device.open() as file, file.mmap() as memory:
            memory[6 << 20 : (6 << 20) + 3] = b"old"
        device.resize("4M")
        device.resize("8M")
        with device.open() as file, file.mmap() as memory:
            memory[6 << 20 : (6 << 20) + 3] = b"new"
    with Engine() as engine:
        device = engine.add_region("8M", provider="hmem", backend=backend, idle=False).devices[0]
        with device.open() as file, file.mmap() as memory:
            assert memory[6 << 20 : (6 << 20) + 3] == b"new"


def test_a_namespace_that_was_disabled_keeps_what_was_written_since(tmp_path):
    backend, unbind = f"file:{tmp_path}", "/sys/bus/nd/drivers/dax_pmem"
    with Engine() as engine:
        device = engine.add_region("4M", backend=backend).devices[0]
        for text in (b"old", b"new"):
            with device.open() as file, file.mmap() as memory:
                memory[0:3] = text
            if text == b"old":
                engine.write_attribute(f"{unbind}/unbind", "dax0.0")
                engine.write_attribute(f"{unbind}/bind", "dax0.0")
    with Engine() as engine:
        device = engine.add_region("4M", backend=backend).devices[0]
        with device.open() as file, file.mmap() as memory:
            assert memory[0:3] == b"new"
