"""Huge pages for the tests, and their return."""

import fcntl
import os
from pathlib import Path

import pytest

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
NEEDED = 64


@pytest.fixture(scope="session", autouse=True)
def huge_pages():
    """Set pages aside where there are not enough; root may. Whoever else does so waits for their return."""
    with POOL.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = POOL.read_text()
        if int(before) < NEEDED and os.geteuid() == 0:
            POOL.write_text(str(NEEDED))
        yield
        if POOL.read_text() != before:
            POOL.write_text(before)
