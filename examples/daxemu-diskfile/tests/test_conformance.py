from daxemu_diskfile import DiskFileStore

from daxemu.testing import BackingStoreSuite


class TestDiskFile(BackingStoreSuite):
    store_class = DiskFileStore
