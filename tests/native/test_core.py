"""The C core: every entry point, its errors, and that it keeps nothing."""

import errno
import gc
import mmap
import os
import struct
import sys
from pathlib import Path

import pytest

from daxemu import _core
from daxemu.session import layout

PAGE = mmap.PAGESIZE
ALIGN = 2 << 20
RW = mmap.PROT_READ | mmap.PROT_WRITE


@pytest.fixture
def backing():
    fd = os.memfd_create("daxemu-test")
    os.ftruncate(fd, 4 * ALIGN)
    yield fd
    os.close(fd)


def identity(fd):
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


@pytest.mark.parametrize(
    ("alive", "shared", "start", "end", "align", "expected"),
    [
        (True, True, ALIGN, 2 * ALIGN, ALIGN, 0),
        (False, False, 1, 2, ALIGN, -errno.ENXIO),
        (True, False, ALIGN, 2 * ALIGN, ALIGN, -errno.EINVAL),
        (True, True, ALIGN + PAGE, 2 * ALIGN, ALIGN, -errno.EINVAL),
        (True, True, ALIGN, 2 * ALIGN + PAGE, ALIGN, -errno.EINVAL),
        (True, True, PAGE, 2 * PAGE, PAGE, 0),
        (True, True, 0, 1 << 40, 1 << 30, 0),
    ],
)
def test_check_vma_refuses_in_the_kernels_order(alive, shared, start, end, align, expected):
    assert _core.check_vma(alive, shared, start, end, align) == expected


@pytest.mark.parametrize("align", [PAGE, ALIGN, 1 << 30])
def test_a_mapping_is_aligned_like_its_offset(backing, align):
    os.ftruncate(backing, 2 * align)
    for offset in (0, align):
        mapping = _core.Mapping(backing, align, offset, RW, True, align)
        assert mapping.address % align == 0
        mapping._unmap()


@pytest.mark.parametrize(
    ("length", "offset", "alive", "code"),
    [
        (0, 0, True, errno.EINVAL),
        (PAGE, 0, True, errno.EINVAL),
        (ALIGN + PAGE, 0, True, errno.EINVAL),
        (ALIGN, 1, True, errno.EINVAL),
        (ALIGN, 0, False, errno.ENXIO),
        ((1 << 63) - 1, 0, True, errno.ENOMEM),
        (-1, 0, True, errno.EINVAL),
        (ALIGN, -ALIGN, True, errno.EINVAL),
    ],
)
def test_a_mapping_that_the_kernel_would_refuse_is_refused(backing, length, offset, alive, code):
    with pytest.raises(OSError, match="mmap of a dax device") as caught:
        _core.Mapping(backing, length, offset, RW, alive, ALIGN)
    assert caught.value.errno == code


def test_a_failed_mapping_leaves_no_reservation(backing):
    read_only = os.open(f"/proc/self/fd/{backing}", os.O_RDONLY)
    before = Path("/proc/self/maps").read_text().count("\n")
    for _ in range(50):
        with pytest.raises(OSError, match="mmap"):
            _core.Mapping(read_only, ALIGN, 0, RW, True, ALIGN)
    os.close(read_only)
    assert Path("/proc/self/maps").read_text().count("\n") <= before + 1


def test_revocation_keeps_protection_place_and_data(backing):
    mapping = _core.Mapping(backing, 4 * ALIGN, 0, RW, True, ALIGN)
    read_only = _core.Mapping(backing, ALIGN, ALIGN, mmap.PROT_READ, True, ALIGN)
    mapping._write(ALIGN + 5, b"hello")

    assert _core.sync_mappings(*identity(backing), False) == 2
    assert (mapping._read(ALIGN + 5, 5), read_only._read(5, 5)) == (ALIGN + 5, 5)
    assert mapping._write(0, b"x") == 0
    assert _core.sync_mappings(*identity(backing), False) == 0

    assert _core.sync_mappings(*identity(backing), True) == 2
    assert (mapping._read(ALIGN + 5, 5), read_only._read(5, 5)) == (b"hello", b"hello")
    assert read_only._write(5, b"x") == 5
    assert _core.sync_mappings(*identity(backing), True) == 0


def test_each_reason_of_a_bus_error_holds_for_itself(backing):
    """A block that is refused stays so when the device has died and come back."""
    mapping = _core.Mapping(backing, 4 * ALIGN, 0, RW, True, ALIGN)
    readable = lambda: [isinstance(mapping._read(i * ALIGN, 1), bytes) for i in range(4)]  # noqa: E731

    assert _core.move_mappings(*identity(backing), ALIGN, 2 * ALIGN, layout.MOVED_REFUSED, True) == 1
    assert readable() == [True, False, True, True]
    assert _core.move_mappings(*identity(backing), 0, 2 * ALIGN, layout.MOVED_POISONED, True) == 2
    assert readable() == [False, False, True, True]
    _core.sync_mappings(*identity(backing), False)
    assert readable() == [False] * 4
    _core.move_mappings(*identity(backing), 0, 4 * ALIGN, layout.MOVED_POISONED, False)
    assert readable() == [False] * 4
    _core.sync_mappings(*identity(backing), True)
    assert readable() == [True, False, True, True]
    _core.move_mappings(*identity(backing), 0, 1 << 63, layout.MOVED_REFUSED, False)
    assert readable() == [True] * 4


def test_an_offset_that_no_device_reaches_says_nothing(backing):
    """The high bits of an offset are ours; what a program asks for up there is past the end, dead or alive."""
    mapping = _core.Mapping(backing, ALIGN, layout.MOVED_DEAD, RW, True, ALIGN)
    assert _core.sync_mappings(*identity(backing), True) == 0
    assert mapping._read(0, 1) == 0
    assert _core.sync_mappings(*identity(backing), False) == 1


def test_revocation_leaves_other_files_alone(backing):
    other = os.memfd_create("daxemu-other")
    os.ftruncate(other, ALIGN)
    bystander = _core.Mapping(other, ALIGN, 0, RW, True, ALIGN)
    private = mmap.mmap(backing, ALIGN, flags=mmap.MAP_PRIVATE)
    mapping = _core.Mapping(backing, ALIGN, 0, RW, True, ALIGN)

    assert _core.sync_mappings(*identity(backing), False) == 1

    assert (bystander._read(0, 1), private[0], mapping._read(0, 1)) == (b"\0", 0, 0)
    os.close(other)


def test_revocation_finds_every_one_of_many_mappings(backing):
    mappings = [_core.Mapping(backing, ALIGN, (i % 4) * ALIGN, RW, True, ALIGN) for i in range(300)]

    _core.sync_mappings(*identity(backing), False)
    assert all(mapping._read(PAGE, 1) == PAGE for mapping in mappings)

    _core.sync_mappings(*identity(backing), True)
    assert all(mapping._read(PAGE, 1) == b"\0" for mapping in mappings)


def test_reading_stops_at_the_first_byte_that_is_gone(backing):
    mapping = _core.Mapping(backing, 4 * ALIGN, 0, RW, True, ALIGN)
    os.ftruncate(backing, ALIGN)

    assert mapping._read(ALIGN - 3, 3) == b"\0\0\0"
    assert mapping._read(ALIGN - 3, 10) == ALIGN
    assert mapping._write(ALIGN - 3, b"abcdef") == ALIGN
    assert mapping._read(ALIGN - 3, 3) == b"abc"


def test_bounds_are_checked(backing):
    mapping = _core.Mapping(backing, ALIGN, 0, RW, True, ALIGN)
    for offset, length in ((-1, 1), (0, -1), (ALIGN, 1), (0, ALIGN + 1), (sys.maxsize, sys.maxsize)):
        with pytest.raises(IndexError):
            mapping._read(offset, length)
    with pytest.raises(IndexError):
        mapping._write(ALIGN - 1, b"ab")
    assert mapping._read(ALIGN, 0) == b""


def test_the_buffer_is_the_memory_itself(backing):
    mapping = _core.Mapping(backing, ALIGN, 0, RW, True, ALIGN)
    view = memoryview(mapping)
    view[7] = 9
    assert os.pread(backing, 1, 7) == b"\x09"
    with pytest.raises(BufferError):
        mapping._unmap()
    view.release()
    mapping._unmap()
    assert (len(mapping), mapping.address) == (0, 0)
    with pytest.raises(ValueError, match="closed"):
        memoryview(mapping)
    with pytest.raises(ValueError, match="closed"):
        mapping._read(0, 0)


def test_a_read_only_mapping_gives_a_read_only_buffer(backing):
    assert memoryview(_core.Mapping(backing, ALIGN, 0, mmap.PROT_READ, True, ALIGN)).readonly


def test_the_table_is_never_written_past_its_end():
    table = bytearray(64)
    _core.table_write(table, 60, b"abcd")
    assert table[60:] == b"abcd"
    for offset, data in ((61, b"abcd"), (64, b"a"), (1 << 63, b"a"), (0, bytes(65))):
        with pytest.raises(ValueError, match="past the end"):
            _core.table_write(table, offset, data)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", None),
        (b"#!/bin/sh\n", None),
        (b"\x7fELF", None),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 62) + bytes(100), (62, None)),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHH", 2, 62, 1, 0, 1 << 62, 0, 0, 64, 56, 9), None),
        (b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HH", 2, 3) + bytes(100), (3, None)),
    ],
)
def test_elf_facts_of_odd_files(tmp_path, content, expected):
    path = tmp_path / "program"
    path.write_bytes(content)
    assert _core.elf_facts(path) == expected


def test_elf_facts_of_the_interpreter_that_runs_this():
    machine, loader = _core.elf_facts(os.path.realpath(sys.executable))
    assert Path(loader).exists()
    assert machine > 0
    with pytest.raises(FileNotFoundError, match="open of /nonexistent"):
        _core.elf_facts("/nonexistent")


def test_no_entry_point_keeps_memory_or_descriptors(backing):
    def everything():
        mapping = _core.Mapping(backing, ALIGN, 0, RW, True, ALIGN)
        mapping._write(0, b"x" * 1000)
        mapping._read(0, 100000)
        bytes(memoryview(mapping)[:10])
        _core.sync_mappings(*identity(backing), False)
        _core.sync_mappings(*identity(backing), True)
        mapping._unmap()
        _core.table_write(bytearray(16), 8, b"x")
        _core.check_vma(True, True, 0, ALIGN, ALIGN)
        _core.elf_facts(sys.executable)
        with pytest.raises(OSError, match="mmap"):
            _core.Mapping(backing, 1, 0, RW, True, ALIGN)
        with pytest.raises(IndexError):
            _core.Mapping(backing, ALIGN, 0, RW, True, ALIGN)._read(-1, 1)

    def held():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), int(Path("/proc/self/statm").read_text().split()[5])

    for _ in range(50):
        everything()
    fds, pages = held()
    for _ in range(500):
        everything()
    after_fds, after_pages = held()
    assert after_fds == fds
    if "libasan" not in Path("/proc/self/maps").read_text():  # which keeps what was freed
        assert after_pages - pages < 64, "data pages grow with the number of calls"
