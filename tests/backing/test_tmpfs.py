"""The default store: memory files."""

import errno
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daxemu import Engine, KernelError, UnavailableError, UsageError
from daxemu.backing import BackingFile, tmpfs
from daxemu.plugins import find_store
from tests.conftest import require

M = 1 << 20
IMPOSSIBLE = [900 << 40, 1 << 62]


@pytest.fixture(params=["", "memfd"], ids=["huge", "memfd"])
def store(request):
    made = tmpfs.TmpfsStore(request.param)
    made.destroy(made.create("warm-up", 0))  # the one mount of this process
    return made


@pytest.fixture
def no_huge_pages(monkeypatch):
    def refuse():
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(tmpfs, "_huge_mount", refuse)


@pytest.fixture
def fd(store):
    descriptor = store.create("dax0.0", 4 * M)
    yield descriptor
    store.destroy(descriptor)


@pytest.fixture
def full(monkeypatch):
    """No file can be made any larger."""

    def refuse(fd, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", refuse)


def open_files():
    return sorted(os.listdir("/proc/self/fd"))


def test_the_store_works_here(store):
    assert store.probe(store.where).available
    assert str(store.probe(store.where)).startswith("available: ")


def test_threads_may_make_files_of_one_label(store):
    def make_some(_):
        for _ in range(200):
            store.destroy(store.create("dax0.0", 0))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make_some, range(4)))


def test_probing_changes_nothing(store):
    before = open_files()

    store.probe(store.where)

    assert open_files() == before


def test_without_huge_pages_there_are_memfds_and_the_probe_says_so(no_huge_pages):
    store = tmpfs.TmpfsStore()
    fd = store.create("dax0.0", M)

    assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:dax0.0 ")
    assert str(store.probe()) == "available: memfd, no huge pages: Operation not permitted"
    store.destroy(fd)


def test_who_insists_on_huge_pages_is_told_why_there_are_none(no_huge_pages):
    with pytest.raises(UnavailableError, match="'tmpfs:huge' does not work here: Operation not permitted; run"):
        find_store("tmpfs:huge")


def test_another_kind_of_tmpfs_is_an_error():
    with pytest.raises(UsageError, match="write tmpfs, tmpfs:huge or tmpfs:memfd"):
        find_store("tmpfs:tape")


def test_without_memfd_the_probe_says_why_and_what_would_help(monkeypatch, no_huge_pages):
    def refuse(name):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    probe = tmpfs.TmpfsStore.probe()

    assert not probe.available
    assert str(probe) == f"{probe.reason}; {probe.remedy}"
    assert "Operation not permitted" in probe.reason
    assert "seccomp" in probe.remedy


def test_an_aligned_mapping_has_huge_pages():
    store = tmpfs.TmpfsStore()
    if "no huge pages" in str(store.probe()):
        pytest.skip("no right to mount a tmpfs: run as root, or allow user namespaces")
    with Engine() as engine, engine.add_region("8M").devices[0].open() as file, file.mmap() as memory:
        memory[0:1] = b"x"
        smaps = Path("/proc/self/smaps").read_text().partition(f"{memory.address:x}-")[2]
        assert re.search(r"ShmemPmdMapped: +2048 kB", smaps.partition("VmFlags")[0])


@pytest.mark.parametrize("size", [0, 4096, 4 * M])
def test_a_new_file_has_its_size_and_is_zero(store, size):
    fd = store.create("dax0.0", size)

    assert os.fstat(fd).st_size == size
    assert os.pread(fd, M, max(size - M, 0)) == bytes(min(size, M))
    store.destroy(fd)


def test_a_new_file_takes_no_memory_until_it_is_written(store):
    fd = store.create("dax0.0", 1 << 30)
    assert os.fstat(fd).st_blocks == 0

    os.pwrite(fd, b"x", 512 * M)

    assert 0 < os.fstat(fd).st_blocks * 512 <= 2 * M
    store.destroy(fd)


def test_the_file_bears_the_name_of_its_device(fd):
    assert re.match(r"/(memfd:)?dax0\.0[ .]", os.readlink(f"/proc/self/fd/{fd}"))


def test_the_descriptor_does_not_reach_programs(fd):
    assert not os.get_inheritable(fd)


def test_growing_adds_zeroes(store, fd):
    os.pwrite(fd, b"x" * M, 3 * M)

    store.resize(fd, 6 * M)

    assert os.pread(fd, 4 * M, 3 * M) == b"x" * M + bytes(2 * M)


def test_shrinking_frees_what_is_cut_off(store, fd):
    os.pwrite(fd, b"x" * 4 * M, 0)
    before = os.fstat(fd).st_blocks

    store.resize(fd, M)
    store.resize(fd, 4 * M)

    assert os.fstat(fd).st_blocks <= before // 4
    assert os.pread(fd, 2 * M, 0) == b"x" * M + bytes(M)


def test_each_file_has_an_inode_of_its_own_that_stays(store):
    files = [BackingFile(store.create("dax0.0", M), store) for _ in range(10)]
    before = [file.identity for file in files]

    for file in files:
        file.resize(2 * M)

    assert [file.identity for file in files] == before
    assert len(set(before)) == 10
    for file in files:
        file.close()


def test_closing_gives_the_memory_back_once(store):
    before = open_files()
    file = BackingFile(store.create("dax0.0", M), store)

    file.close()
    file.close()

    assert open_files() == before
    assert file.fd == -1


@pytest.mark.parametrize("size", IMPOSSIBLE)
def test_a_size_that_no_memory_could_fill_is_enomem(store, size):
    with pytest.raises(OSError, match="ask for a smaller size") as caught:
        store.create("dax0.0", size)

    assert caught.value.errno == errno.ENOMEM


@pytest.mark.parametrize("size", IMPOSSIBLE)
def test_a_file_cannot_grow_past_all_memory_and_stays_as_it_is(store, fd, size):
    with pytest.raises(OSError, match="ask for a smaller size") as caught:
        store.resize(fd, size)

    assert caught.value.errno == errno.ENOMEM
    assert os.fstat(fd).st_size == 4 * M


def test_a_file_far_larger_than_memory_costs_nothing(store):
    fd = store.create("dax0.0", 1 << 40)

    assert os.fstat(fd).st_blocks == 0
    store.destroy(fd)


def test_what_is_reserved_has_memory(store):
    fd = store.create("dax0.0", 8 * M)

    store.reserve(fd, 8 * M)

    assert os.fstat(fd).st_blocks * 512 == 8 * M
    store.destroy(fd)


@pytest.mark.parametrize(("limit", "allowed"), [("1048576\n", False), ("8388608\n", True), ("max\n", True)])
def test_what_a_container_has_left_is_the_limit_of_a_reservation(store, tmp_path, monkeypatch, limit, allowed):
    (tmp_path / "max").write_text(limit)
    (tmp_path / "current").write_text("4096\n")
    absent = (str(tmp_path / "absent"), str(tmp_path / "absent"))
    monkeypatch.setattr(tmpfs, "_CGROUPS", (absent, (str(tmp_path / "max"), str(tmp_path / "current"))))
    fd = store.create("dax0.0", 4 * M)

    if allowed:
        store.reserve(fd, 4 * M)
    else:
        with pytest.raises(OSError, match="4M to be reserved, but only 0M of memory are left") as caught:
            store.reserve(fd, 4 * M)
        assert caught.value.errno == errno.ENOSPC
        assert os.fstat(fd).st_blocks == 0
    store.destroy(fd)


def test_a_region_that_cannot_be_reserved_is_not_made():
    with Engine() as engine:
        with pytest.raises(KernelError, match="ask for less, or without reserve") as caught:
            engine.add_region("1T", reserve=True)
        assert caught.value.errno == errno.ENOSPC
        assert engine.regions == []


def test_a_device_that_cannot_be_reserved_keeps_its_size():
    with Engine() as engine:
        device = engine.add_region("1T", provider="hmem", reserve=True).create_device("4M")
        with pytest.raises(KernelError) as caught:
            device.resize("512G")
        assert caught.value.errno == errno.ENOSPC
        assert device.size == 4 * M


def test_a_file_that_cannot_be_made_large_enough_leaves_nothing(store, full):
    before = open_files()

    with pytest.raises(OSError, match="No space left"):
        store.create("dax0.0", M)

    assert open_files() == before


@pytest.mark.parametrize(("size", "error"), [("900T", errno.ENOMEM), ("2M", errno.ENOSPC)])
def test_the_engine_reports_the_store_and_its_reason(request, size, error):
    if error == errno.ENOSPC:
        request.getfixturevalue("full")
    with Engine() as engine, pytest.raises(KernelError, match="backend 'tmpfs': ") as caught:
        engine.add_region(size)

    assert caught.value.errno == error


FILL = """
import os, sys
from daxemu.backing.tmpfs import TmpfsStore

fd = TmpfsStore().create("dax0.0", 80 << 20)
limit = os.statvfs("/dev/shm")
print(sum(os.pwrite(fd, bytes(1 << 20), n << 20) for n in range(80)), limit.f_blocks * limit.f_frsize)
"""


def test_a_small_dev_shm_is_no_limit():
    alone = [require("unshare", "util-linux"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    line = [*alone, "sh", "-c", 'mount -t tmpfs -o size=64m none /dev/shm && exec "$@"', "sh", sys.executable, "-c"]
    if subprocess.run([*line, "pass"], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount, or this interpreter is out of reach: run as root")

    assert subprocess.run([*line, FILL], capture_output=True, text=True, check=True).stdout == f"{80 * M} {64 * M}\n"
