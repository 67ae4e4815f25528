"""What is said where there is no persistent memory, and what needs none."""

import errno
import os

import pytest
from daxemu_pmem import PmemStore, place

import daxemu
from daxemu.plugins import find_store

M = 1 << 20


def refusal(where=""):
    probe = PmemStore.probe(where)
    assert not probe.available
    return str(probe)


def test_without_a_place_it_says_what_there_is(monkeypatch):
    monkeypatch.setattr("daxemu_pmem.store.dax_mounts", lambda: ["/mnt/a", "/mnt/b"])
    assert refusal().startswith("say where: -o dax is mounted at /mnt/a, /mnt/b; ")
    monkeypatch.setattr("daxemu_pmem.store.dax_mounts", list)
    assert refusal().startswith("no file system is mounted with -o dax; mount ")


def test_a_file_system_without_dax_is_no_place(tmp_path):
    assert "cannot be mapped with MAP_SYNC" in refusal(str(tmp_path))
    assert "cannot be mapped with MAP_SYNC" in refusal(str(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("relative", "'relative' is no absolute path"),
        ("/nowhere/at/all", "No such file or directory"),
        ("/dev/dax999.0", "there is no /dev/dax999.0"),
        ("/dev/null", "/dev/null is no device-DAX"),
    ],
)
def test_what_is_no_place_is_said(where, reason):
    with pytest.raises(daxemu.UnavailableError, match=reason):
        find_store(f"pmem:{where}")


def test_a_place_without_rights_is_said(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert refusal(str(tmp_path)) == f"no right to use {tmp_path}; run as root, or have it given to you with chown"


@pytest.fixture
def any_file_system(monkeypatch):
    """Everything but MAP_SYNC can be tried on any file system."""
    monkeypatch.setattr(place, "_check_map_sync", lambda fd, path: None)


@pytest.mark.usefixtures("any_file_system")
def test_a_named_file_keeps_its_bytes_for_the_next_session(tmp_path):
    path = tmp_path / "pool"
    with daxemu.Engine() as engine:
        device = engine.add_region("4M", backend=f"pmem:{path}").devices[0]
        with device.open() as file, file.mmap() as memory:
            memory[3 * M : 3 * M + 4] = b"kept"
        with pytest.raises(daxemu.KernelError, match="is another emulated device's memory"):
            engine.add_region("4M", backend=f"pmem:{path}")
    assert path.stat().st_size == 4 * M
    with daxemu.Engine() as engine:
        with pytest.raises(daxemu.KernelError, match="has 4M; make the region size=4M"):
            engine.add_region("8M", backend=f"pmem:{path}")
        device = engine.add_region("4M", backend=f"pmem:{path}").devices[0]
        with device.open() as file, file.mmap() as memory:
            assert memory[3 * M : 3 * M + 4] == b"kept"


@pytest.mark.usefixtures("any_file_system")
def test_every_block_is_written_before_use(tmp_path):
    with daxemu.Engine() as engine:
        engine.add_region("4M", backend=f"pmem:{tmp_path / 'pool'}")
        assert (tmp_path / "pool").stat().st_blocks * 512 >= 4 * M


@pytest.mark.usefixtures("any_file_system")
def test_files_in_a_directory_leave_nothing(tmp_path):
    with daxemu.Engine() as engine:
        engine.add_region("4M", backend=f"pmem:{tmp_path}")
        engine.add_region("4M", backend=f"pmem:{tmp_path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("any_file_system")
def test_more_than_the_file_system_has_is_refused(tmp_path):
    with daxemu.Engine() as engine:
        with pytest.raises(daxemu.KernelError, match=r"has no room for 512T|File too large"):
            engine.add_region("512T", backend=f"pmem:{tmp_path}")
        assert engine.regions == []
