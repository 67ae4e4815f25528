"""Programs that use PMDK's libraries, as Debian ships them."""

import pytest

from daxemu import Engine, UsageError
from tests.conftest import require, require_library


def test_transactions_of_libpmemobj(daxemu_run, compiled):
    """Committed, aborted, and cut off in the middle by the end of the process."""
    require_library("libpmemobj.h", "libpmemobj-dev")
    obj = compiled("pmdk_obj", "-lpmemobj")
    script = f"""
        {obj} /dev/dax0.0 create abort 5 set 7 read
        {obj} /dev/dax0.0 crash 9; echo "rc $?"
        {obj} /dev/dax0.0 fill read
    """
    shown = daxemu_run("bash", "-c", script).stdout.splitlines()
    assert shown[:8] == [
        "create: found 0 0",
        "abort: found 1 2",
        "aborted",
        "set: found 1 2",
        "read: found 7 14",
        "crash: found 7 14",
        "rc 3",
        "fill: found 7 14",
    ]
    assert shown[8].startswith("Cannot allocate memory after ")
    assert shown[9] == "read: found 7 14"


@pytest.mark.parametrize(
    ("region", "granularity"),
    [("size=64M", "cache line"), ("size=64M,align=4K,persistence=cpu_cache", "byte")],
    ids=["ADR", "eADR"],
)
def test_what_libpmem2_says_of_a_device(daxemu_run, compiled, region, granularity):
    require_library("libpmem2.h", "libpmem2-dev")
    pmem2 = compiled("pmdk_pmem2", "-lpmem2")
    shown = daxemu_run(pmem2, "/dev/dax0.0", options=("--region", region)).stdout.splitlines()
    assert shown == [
        f"size {64 << 20}, alignment {4096 if '4K' in region else 2 << 20}",
        "id of 14 bytes",
        "unsafe shutdowns 0",
        f"granularity {granularity}",
        "flushed deep",
        "read: through libpmem2",
    ]


def test_libpmem2_finds_and_clears_broken_memory(daxemu_run, compiled):
    require_library("libpmem2.h", "libpmem2-dev")
    require("ndctl")
    pmem2 = compiled("pmdk_pmem2", "-lpmem2")
    script = f"""
        {pmem2} /dev/dax0.0 badblocks
        ndctl inject-error namespace0.0 -B 80 -n 3 >/dev/null
        {pmem2} /dev/dax0.0 badblocks; {pmem2} /dev/dax0.0 clear; {pmem2} /dev/dax0.0 badblocks; echo end
    """
    bad = "bad: 1536 bytes at 40960"
    assert daxemu_run("bash", "-c", script).stdout.splitlines() == [bad, bad, "cleared", "end"]


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ("pmem", [f"mapped {64 << 20}, is_pmem 1", "persisted deep: 0"]),
        ("log", ["one two"]),
        ("blk", ["block seven"]),
    ],
)
def test_the_older_libraries(daxemu_run, compiled, library, expected):
    require_library("libpmemblk.h", "libpmemblk-dev")
    require_library("libpmemlog.h", "libpmemlog-dev")
    old = compiled("pmdk_old", "-lpmem", "-lpmemlog", "-lpmemblk")
    assert daxemu_run(old, "/dev/dax0.0", library).stdout.splitlines() == expected


def test_a_pool_that_was_open_at_an_unsafe_shutdown_is_refused(compiled):
    require_library("libpmemobj.h", "libpmemobj-dev")
    obj = compiled("pmdk_obj", "-lpmemobj")
    with Engine() as engine:
        region = engine.add_region("64M")

        def run(*steps: str) -> str:
            return engine.run([obj, "/dev/dax0.0", *steps], capture_output=True, text=True, check=False).stdout

        run("create", "set", "5")
        region.unsafe_shutdowns += 1
        assert run("read") == "read: found 5 10\n"  # it was closed
        run("crash", "7")
        assert run("read") == "read: found 5 10\n"  # power was not lost
        run("crash", "7")
        region.unsafe_shutdowns += 1
        assert "an ADR failure was detected" in run("read")


def test_only_an_nvdimm_counts_unsafe_shutdowns():
    with Engine() as engine:
        region = engine.add_region("4M", provider="hmem")
        assert region.unsafe_shutdowns == 0
        with pytest.raises(UsageError, match="on no NVDIMM"):
            region.unsafe_shutdowns = 1
        with pytest.raises(UsageError, match="at least 0"):
            engine.add_region("4M").unsafe_shutdowns = -1
