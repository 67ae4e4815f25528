"""The same programs over every backing store that works here: plugins bring more."""

import fcntl
import os
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from daxemu.plugins import registered_stores
from tests.conftest import require

BACKENDS = [
    backend
    for store in registered_stores()
    for backend in {"tmpfs": ["tmpfs:huge", "tmpfs:memfd"], "file": []}.get(store.name, [store.name])
]
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
NEEDED = 96
FIO = "--name=v --ioengine=dev-dax --filename=/dev/dax0.0 --rw=randwrite --bs=4k --size=32m --verify=crc32c"
DAXCTL = """
daxctl disable-device dax0.0 && daxctl reconfigure-device -s 16M dax0.0 && daxctl create-device -s 8M && daxctl list
"""


@contextmanager
def huge_pages():
    """Huge pages where root may set them aside; one test at a time, so that the last one gives them back."""
    with POOL.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = POOL.read_text()
        if int(before) < NEEDED and os.geteuid() == 0:
            POOL.write_text(str(NEEDED))
        yield
        if POOL.read_text() != before:
            POOL.write_text(before)


@pytest.fixture(params=BACKENDS)
def backend(request):
    name, _, where = request.param.partition(":")
    [store] = [store for store in registered_stores() if store.name == name]
    with huge_pages() if name == "hugetlbfs" and POOL.exists() else nullcontext():
        probe = store.probe(where)
        if not probe.available:
            pytest.skip(f"{request.param}: {probe}")
        yield request.param


def test_fio_verifies_what_it_wrote(daxemu_run, public_dir, backend):
    require("fio")
    options = ("--region", f"size=32M,backend={backend}")
    result = daxemu_run("fio", *FIO.split(), "--thread", options=options, cwd=public_dir)
    assert "err= 0" in result.stdout


def test_daxctl_resizes_and_creates(daxemu_run, backend):
    require("daxctl")
    options = ("--region", f"size=32M,provider=hmem,backend={backend}")
    result = daxemu_run("sh", "-c", DAXCTL, options=options)
    assert '"chardev":"dax0.1"' in result.stdout.replace(" ", "")


def test_pmempool_makes_and_checks_a_pool_of_libpmemobj(daxemu_run, backend):
    require("pmempool", "pmdk-tools")
    script = "pmempool create obj --layout=x /dev/dax0.0 && pmempool check -v /dev/dax0.0 && pmempool info /dev/dax0.0"
    result = daxemu_run("sh", "-c", script, options=("--region", f"size=64M,backend={backend}"))
    assert "consistent" in result.stdout
