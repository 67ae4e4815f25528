from __future__ import annotations

import stat

import pytest

from daxemu.kernel import pseudofs
from daxemu.kernel.ids import Devt
from daxemu.kernel.pseudofs import DAXFS_MAGIC, S_DAX, AddressSpace, DaxSuperBlock, NodeInode, hash_32

from .fakes import Mapper

DEVT = Devt(252, 0)
EVERYTHING = (0, (1 << 64) - 1)


@pytest.fixture
def super_block() -> DaxSuperBlock:
    return DaxSuperBlock()


class Recorder:
    """A mapper that notes what is taken from it."""

    def __init__(self) -> None:
        self.unmapped: list[tuple[int, int]] = []

    def unmap(self, first: int, last: int) -> None:
        self.unmapped.append((first, last))


def test_the_magic_number_spells_ddax():
    assert DAXFS_MAGIC.to_bytes(4, "big") == b"ddax"


def test_statfs_answers_the_magic_number(super_block: DaxSuperBlock):
    assert super_block.statfs().f_type == DAXFS_MAGIC
    assert super_block.statfs().f_bsize == 4096


@pytest.mark.parametrize(
    ("value", "bits", "hashed"),
    [
        (0, 31, 0),
        (1, 32, 0x61C88647),
        (1, 31, 0x61C88647 >> 1),
        (2, 31, 0xC3910C8E >> 1),
        ((1 << 32) + 1, 32, 0x61C88647),
    ],
)
def test_the_hash_is_the_kernels(value: int, bits: int, hashed: int):
    assert hash_32(value, bits) == hashed


def test_a_new_inode_is_a_dax_character_device_of_its_number(super_block: DaxSuperBlock):
    inode = super_block.iget(DEVT)
    assert inode.i_mode == stat.S_IFCHR
    assert inode.i_flags == S_DAX
    assert inode.i_rdev == DEVT
    assert inode.i_mapping is inode.i_data
    assert inode.i_mapping.host is inode
    assert inode.i_mapping.i_mmap == []


def test_one_number_has_one_inode(super_block: DaxSuperBlock):
    first = super_block.iget(DEVT)
    assert super_block.iget(DEVT) is first
    assert first.i_count == 2


@pytest.mark.parametrize("other", [Devt(252, 1), Devt(253, 0)])
def test_two_numbers_have_two_inodes(super_block: DaxSuperBlock, other: Devt):
    assert super_block.iget(DEVT) is not super_block.iget(other)


def test_inodes_of_one_hash_bucket_are_told_apart(super_block: DaxSuperBlock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pseudofs, "hash_32", lambda *_: 7)
    inodes = [super_block.iget(Devt(252, minor)) for minor in range(3)]
    assert [inode.i_rdev.minor for inode in inodes] == [0, 1, 2]
    super_block.iput(inodes[1])
    assert super_block.iget(Devt(252, 2)) is inodes[2]
    assert list(super_block.inodes()) == [inodes[0], inodes[2]]


def test_the_cache_is_keyed_by_device_number_and_magic(super_block: DaxSuperBlock, monkeypatch: pytest.MonkeyPatch):
    keys: list[tuple[int, int]] = []
    monkeypatch.setattr(pseudofs, "hash_32", lambda value, bits: keys.append((value, bits)) or 0)
    super_block.iget(DEVT)
    assert keys == [(int(DEVT) + DAXFS_MAGIC, 31)]


def test_the_last_iput_evicts_the_inode(super_block: DaxSuperBlock):
    inode = super_block.iget(DEVT)
    super_block.iget(DEVT)
    super_block.iput(inode)
    assert list(super_block.inodes()) == [inode]
    super_block.iput(inode)
    assert list(super_block.inodes()) == []
    assert super_block.iget(DEVT) is not inode


def test_an_inode_without_references_is_not_put(super_block: DaxSuperBlock):
    inode = super_block.iget(DEVT)
    super_block.iput(inode)
    with pytest.raises(AssertionError, match="without references"):
        super_block.iput(inode)


def test_an_evicted_inode_is_freed_after_a_grace_period(super_block: DaxSuperBlock):
    super_block.iput(super_block.iget(DEVT))
    assert len(super_block._awaiting_rcu) == 1
    super_block.rcu_barrier()
    assert super_block._awaiting_rcu == []


def test_unmounting_waits_for_the_grace_period(super_block: DaxSuperBlock):
    super_block.iput(super_block.iget(DEVT))
    super_block.unmount()
    assert super_block._awaiting_rcu == []


def test_a_file_system_in_use_is_not_unmounted(super_block: DaxSuperBlock):
    super_block.iget(DEVT)
    with pytest.raises(AssertionError, match=r"inodes still in use: .*252:0"):
        super_block.unmount()


def test_an_unmounted_file_system_has_no_inodes(super_block: DaxSuperBlock):
    super_block.unmount()
    with pytest.raises(AssertionError, match="unmounted"):
        super_block.iget(DEVT)


@pytest.mark.parametrize(
    ("start", "length", "unmapped"), [(0, 0, EVERYTHING), (4096, 0, (4096, EVERYTHING[1])), (4096, 8192, (4096, 12287))]
)
def test_unmap_mapping_range_reaches_every_mapper(start: int, length: int, unmapped: tuple[int, int]):
    mapping = AddressSpace(NodeInode(DEVT))
    mappers = [Recorder(), Recorder()]
    mapping.i_mmap.extend(mappers)
    mapping.unmap_mapping_range(start, length)
    assert [mapper.unmapped for mapper in mappers] == [[unmapped], [unmapped]]


def test_a_mapper_may_leave_while_it_is_unmapped():
    mapping = AddressSpace(NodeInode(DEVT))
    leaver, last = Mapper(lambda *_: mapping.i_mmap.remove(leaver)), Recorder()
    mapping.i_mmap.extend([leaver, last])
    mapping.unmap_mapping_range(0, 0)
    assert mapping.i_mmap == [last]
    assert last.unmapped == [EVERYTHING]


def test_a_node_that_forgets_its_device_has_its_own_empty_address_space(super_block: DaxSuperBlock):
    node = NodeInode(DEVT)
    node.i_mapping = super_block.iget(DEVT).i_mapping
    node.cd_forget()
    assert node.i_mapping is node.i_data
    assert node.i_mapping.host is node
