"""Huge pages for the tests, and their return."""

import os
from pathlib import Path

import pytest

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
NEEDED = 64


@pytest.fixture(scope="session", autouse=True)
def huge_pages():
    """Set pages aside where there are not enough; root may."""
    before = int(POOL.read_text())
    if before < NEEDED and os.geteuid() == 0:
        POOL.write_text(str(NEEDED))
    yield
    if int(POOL.read_text()) != before:
        POOL.write_text(str(before))
