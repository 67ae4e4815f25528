"""On real persistent memory: $DAXEMU_PMEM_DIRECTORY, or whatever is mounted with -o dax."""

import os

import pytest
from daxemu_pmem import PmemStore
from daxemu_pmem.place import dax_mounts

from daxemu.testing import BackingStoreSuite

WHERE = os.environ.get("DAXEMU_PMEM_DIRECTORY") or next(iter(dax_mounts()), "")


@pytest.mark.skipif(
    not WHERE, reason="no file system is mounted with -o dax; the oracle lane has one in a virtual machine"
)
class TestPmem(BackingStoreSuite):
    store_class = PmemStore
    where = WHERE
