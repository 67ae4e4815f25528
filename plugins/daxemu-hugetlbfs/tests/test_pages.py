"""What is particular to huge pages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from daxemu_hugetlbfs import HugetlbfsStore
from daxemu_hugetlbfs.pool import Pool

import daxemu
from daxemu.plugins import find_store
from daxemu.pmem import Recording

M = 1 << 20
PRINT = "import mmap, os; print(mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 2 << 20)[:5])"


@pytest.fixture
def pool():
    found = Pool(2 * M)
    if found.free() < 16:
        pytest.skip(found.shortage(16))
    return found


def test_a_device_takes_its_pages_at_once_and_gives_them_back(pool):
    before = pool.free()
    with daxemu.Engine() as engine:
        engine.add_region("16M", backend="hugetlbfs")
        assert pool.free() == before - 8
    assert pool.free() == before


def test_pages_that_are_not_there_are_an_error_that_says_what_would_help(pool):
    before = pool.free()
    with daxemu.Engine() as engine:
        with pytest.raises(daxemu.KernelError, match=r"\d+ are free; as root: sysctl vm.nr_hugepages=\d+"):
            engine.add_region(2 * M * (before + 1), backend="hugetlbfs")
        assert engine.regions == []
    assert pool.free() == before


def test_a_revoked_device_keeps_its_promise_of_pages(pool):
    before = pool.free()
    with daxemu.Engine() as engine:
        device = engine.add_region("16M", backend="hugetlbfs").devices[0]
        device.kill()
        device.revive()
        assert pool.free() == before - 8


@pytest.mark.usefixtures("pool")
def test_memory_is_mapped_in_huge_pages():
    with daxemu.Engine() as engine:
        device = engine.add_region("4M", backend="hugetlbfs").devices[0]
        with device.open() as file, file.mmap() as memory:
            memory[0] = 1
            smaps = Path("/proc/self/smaps").read_text().partition(f"{memory.address:x}-")[2]
            assert re.search(r"KernelPageSize: +2048 kB", smaps.partition("VmFlags")[0])


@pytest.mark.usefixtures("pool")
def test_an_alignment_below_the_page_is_refused():
    with daxemu.Engine() as engine, pytest.raises(daxemu.UsageError, match="the pages of backend 'hugetlbfs' are 2M"):
        engine.add_region("4M", align="4K", backend="hugetlbfs")


@pytest.mark.usefixtures("pool")
def test_a_mount_is_used(tmp_path):
    if subprocess.run(["mount", "-t", "hugetlbfs", "none", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount: run as root")
    try:
        with daxemu.Engine() as engine:
            device = engine.add_region("4M", backend=f"hugetlbfs:{tmp_path}").devices[0]
            with device.open() as file, file.mmap() as memory:
                memory[0:5] = b"hello"
                line = [
                    sys.executable,
                    "-c",
                    "import mmap, os; print(mmap.mmap(os.open('/dev/dax0.0', 2), 2 << 20)[:5])",
                ]
                assert device.run(line, capture_output=True, text=True, check=True).stdout == "b'hello'\n"
            assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_devices_aligned_to_1g_on_pages_of_1g():
    pool = Pool(1 << 30)
    try:
        before = (pool.path / "nr_hugepages").read_text()
        (pool.path / "nr_hugepages").write_text("1")
    except OSError:
        pytest.skip("no pages of 1 GiB, or no right to set one aside: run as root")
    try:
        if pool.free() < 1:
            pytest.skip("no contiguous GiB of memory is free")
        with daxemu.Engine() as engine:
            device = engine.add_region("1G", align="1G", backend="hugetlbfs:1G").devices[0]
            with device.open() as file, file.mmap() as memory:
                assert memory.address % (1 << 30) == 0
                memory[(1 << 30) - 1] = 7
                assert memory[(1 << 30) - 1] == 7
    finally:
        (pool.path / "nr_hugepages").write_text(before)


@pytest.mark.parametrize(
    ("where", "reason"),
    [("3M", "no pages of 3072 KiB"), ("tape", "neither a page size nor"), ("/proc", "/proc is on no hugetlbfs")],
)
def test_what_cannot_be_is_said(where, reason):
    with pytest.raises(daxemu.UnavailableError, match=reason):
        find_store(f"hugetlbfs:{where}")


def test_without_pages_the_probe_says_what_a_device_takes(monkeypatch):
    monkeypatch.setattr(Pool, "pages", lambda self: 0)
    monkeypatch.setattr(Pool, "_count", lambda self, name: 0)
    monkeypatch.setattr(Pool, "exists", True)
    assert str(HugetlbfsStore.probe()) == "no huge pages are set aside; as root: sysctl vm.nr_hugepages=32"
    assert re.search(r"as root: echo 1 > \S+1048576kB/nr_hugepages$", str(HugetlbfsStore.probe("1G")))


def test_lines_that_nobody_flushed_are_found_in_huge_pages(tmp_path):
    """A look tells of 2 MiB; of these only the lines are noted that were stored to."""
    with daxemu.Engine() as engine:
        device = engine.add_region("8M", backend="hugetlbfs").devices[0]
        with device.open() as file, file.mmap() as memory, device.record(tmp_path / "rec"):
            for value in (1, 2):
                memory[4 * M + 64] = value
                memory.persist(0, 1)
    with Recording(tmp_path / "rec") as recording:
        seen = [(event.offset, event.data[0]) for event in recording.events() if event.observed]
        assert recording.sources[-1] in ("scan:pagemap", "scan:diff")
    assert seen == [(4 * M + 64, 1), (4 * M + 64, 2)]
