from daxemu_hugetlbfs import HugetlbfsStore

from daxemu.testing import BackingStoreSuite


class TestHugetlbfs(BackingStoreSuite):
    store_class = HugetlbfsStore
