"""DaxFile and DaxMapping."""

import errno
import mmap
import os

import numpy
import pytest

from daxemu import DaxBusError, Engine, KernelError, UsageError


@pytest.fixture
def device():
    with Engine() as engine:
        yield engine.add_region("8M", provider="hmem").create_device()


@pytest.fixture
def memory(device):
    with device.open() as file, file.mmap() as mapping:
        yield mapping


def test_slices_and_bytes_are_read_and_written(memory):
    memory[0:5] = b"hello"
    memory[-1] = 255
    assert (memory[:5], memory[1], memory[-1], memory[len(memory) - 1 :]) == (b"hello", 101, 255, b"\xff")
    assert memory[5:2] == b""
    memory[4:8] = numpy.array([7], dtype=numpy.uint32)
    assert memory[4:8] == b"\x07\0\0\0"


def test_what_does_not_fit_is_refused(memory):
    with pytest.raises(ValueError, match="do not fit"):
        memory[0:3] = b"four"
    with pytest.raises(TypeError, match="bytes, not an int"):
        memory[0:3] = 1
    with pytest.raises(TypeError, match="int from 0 to 255"):
        memory[0] = b"x"
    with pytest.raises(ValueError, match="256"):
        memory[0] = 256
    with pytest.raises(IndexError, match="step 1"):
        memory[0:4:2]
    for index in (len(memory), -len(memory) - 1):
        with pytest.raises(IndexError):
            memory[index]


def test_numpy_works_on_the_memory_itself(device, memory):
    array = numpy.frombuffer(memory, dtype=numpy.uint64)
    array[:] = numpy.arange(len(array), dtype=numpy.uint64)
    with device.open("r") as file, file.mmap() as other:
        assert other[8:16] == (1).to_bytes(8, "little")
        assert numpy.array_equal(numpy.frombuffer(other, dtype=numpy.uint64), array)
    with pytest.raises(BufferError, match="still in use"):
        memory.close()
    del array


def test_a_part_is_mapped_at_its_offset(device, memory):
    memory[4 << 20] = 77
    with device.open() as file, file.mmap("2M", offset="4M") as part:
        assert (len(part), part[0]) == (2 << 20, 77)


def test_a_read_only_file_maps_read_only(device):
    with device.open("r") as file:
        with pytest.raises(KernelError) as caught:
            file.mmap(writable=True)
        assert caught.value.errno == errno.EACCES
        with file.mmap() as mapping:
            assert memoryview(mapping).readonly
            with pytest.raises(DaxBusError, match="read-only"):
                mapping[0] = 1


@pytest.mark.parametrize(("length", "offset"), [(4096, 0), ("4M", 4096), (0, 0), ("3M", 0)])
def test_a_mapping_that_breaks_the_alignment_is_einval(device, length, offset):
    with device.open() as file, pytest.raises(KernelError, match="alignment 2097152") as caught:
        file.mmap(length, offset=offset)
    assert caught.value.errno == errno.EINVAL


def test_past_the_end_mapping_succeeds_and_touching_does_not(device):
    with device.open() as file, file.mmap("16M") as mapping:
        assert mapping[(8 << 20) - 1] == 0
        with pytest.raises(DaxBusError) as caught:
            mapping[(8 << 20) - 1 : (8 << 20) + 5]
        assert (caught.value.address, caught.value.errno) == (8 << 20, errno.EFAULT)


def test_mappings_outlive_their_file_and_are_still_revoked(device):
    with device.open() as file:
        mapping = file.mmap()
    mapping[0] = 5
    device.kill()
    with pytest.raises(DaxBusError):
        mapping[0]
    device.revive()
    assert mapping[0] == 5
    mapping.close()
    with pytest.raises(ValueError, match="closed"):
        mapping[0]


def test_a_read_only_mapping_is_revoked_too(device, memory):
    memory[0] = 6
    with device.open("r") as file, file.mmap() as reader:
        device.kill()
        with pytest.raises(DaxBusError):
            reader[0]
        device.revive()
        assert reader[0] == 6
        assert memoryview(reader).readonly


def test_a_closed_file_says_so(device):
    file = device.open()
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.fileno()
    with pytest.raises(UsageError, match="'r' or 'r\\+'"):
        device.open("w")


def test_the_files_own_descriptor_can_be_mapped_by_others(device, memory):
    with device.open() as file:
        other = mmap.mmap(os.dup(file.fileno()), 4096)
    memory[10] = 3
    assert other[10] == 3
    other.close()


def test_a_whole_gigabyte_costs_only_what_is_touched():
    with Engine() as engine:
        device = engine.add_region("1G", align="1G").devices[0]
        with device.open() as file, file.mmap() as mapping:
            assert mapping.address % (1 << 30) == 0
            mapping[(1 << 30) - 1] = 1
            assert os.fstat(file.fileno()).st_blocks * 512 <= 4 << 20
