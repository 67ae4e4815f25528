"""Stores of a device's attributes: their answers, and the order of their checks."""

from __future__ import annotations

import pytest

from daxemu.kernel.flavour import FLAVOURS
from tests.kernel.fakes import BLOCK, REGION_START, G, M, mapped
from tests.sysfs.machine import BLOCKS, TOO_LARGE, Machine

# -- size ------------------------------------------------------------------------------------------


def test_a_size_that_is_no_number_comes_before_everything(machine: Machine):
    machine.create(BLOCK, bound=True)
    assert [machine.write("dax0.1/size", text) for text in ("", "abc", TOO_LARGE)] == ["EINVAL", "EINVAL", "ERANGE"]


def test_a_misaligned_size_comes_before_busy(machine: Machine):
    machine.create(BLOCK, bound=True)
    assert machine.write("dax0.1/size", "4096") == "EINVAL"
    assert machine.write("dax0.1/size", str(100 * G + 4096)) == "EINVAL"


def test_busy_comes_before_the_same_size_and_no_space(machine: Machine):
    machine.create(BLOCK, bound=True)
    assert machine.write("dax0.1/size", str(BLOCK)) == "EBUSY"
    assert machine.write("dax0.1/size", str(100 * G)) == "EBUSY"
    assert machine.write("dax0.1/size", "0") == "EBUSY"


def test_the_same_size_is_accepted_by_an_unbound_device_even_where_no_space_is_left(machine: Machine):
    machine.create(BLOCKS * BLOCK)
    assert machine.write("dax0.1/size", f"{BLOCKS * BLOCK}\n") == "ok"
    assert machine.write("dax0.0/size", "0") == "ok"
    assert machine.write("dax0.0/size", str(BLOCK)) == "ENOSPC"


def test_a_device_grows_by_what_is_left_and_no_more(machine: Machine):
    machine.create(4 * BLOCK)
    device = machine.create(BLOCK)
    assert machine.write("dax0.2/size", str(13 * BLOCK)) == "ENOSPC"
    assert device.size == BLOCK
    assert machine.write("dax0.2/size", str(12 * BLOCK)) == "ok"
    assert machine.read("available_size") == "0"


def test_a_device_of_small_alignment_is_resized_in_steps_of_2_mib():
    machine = Machine(align=4096)
    assert machine.write("dax0.0/size", "4096") == "EINVAL"
    assert machine.write("dax0.0/size", str(BLOCK)) == "ok"


def test_a_device_of_large_alignment_is_resized_in_steps_of_it():
    machine = Machine(size=4 * G, align=G)
    assert machine.write("dax0.0/size", str(BLOCK)) == "EINVAL"
    assert machine.write("dax0.0/size", str(2 * G)) == "ok"


# -- align -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("text", ["", "junk", "4K", "-1", " 4096", TOO_LARGE])
def test_an_alignment_that_is_no_number_is_enxio(machine: Machine, text: str, bound: bool):
    machine.create(BLOCK, bound=bound)
    assert machine.write("dax0.1/align", text) == "ENXIO"


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("value", [0, 3, 8192, 64 << 10, M, 4 * M, 2 * G])
def test_an_alignment_that_no_cpu_maps_comes_before_busy(machine: Machine, value: int, bound: bool):
    machine.create(BLOCK, bound=bound)
    assert machine.write("dax0.1/align", str(value)) == "EINVAL"


def test_busy_comes_before_ranges_that_the_alignment_does_not_divide(machine: Machine):
    device = machine.create(BLOCK, bound=True)
    assert [machine.write("dax0.1/align", str(value)) for value in (4096, BLOCK, G)] == ["EBUSY"] * 3
    machine.core.bus.unbind(device)
    assert machine.write("dax0.1/align", str(G)) == "EINVAL"
    assert device.align == BLOCK


@pytest.mark.parametrize("value", [4096, BLOCK, G])
def test_an_empty_device_takes_every_alignment(machine: Machine, value: int):
    assert machine.write("dax0.0/align", f"{value:#x}\n") == "ok"
    assert machine.read("dax0.0/align") == str(value)


# -- mapping ---------------------------------------------------------------------------------------


def at(block: int, blocks: int = 1, shift: int = 0) -> str:
    start = REGION_START + block * BLOCK + shift
    return f"{start:#x}-{start + blocks * BLOCK - 1:#x}\n"


@pytest.mark.parametrize("text", ["", "1234", "zz-yy", "1-2-3", "1-2 ", " 1-2", "-2", "1-"])
def test_what_is_no_range_is_no_mapping(machine: Machine, text: str):
    assert machine.write("dax0.0/mapping", text) == "EINVAL"


def test_a_range_too_large_for_64_bits_is_out_of_range(machine: Machine):
    assert machine.write("dax0.0/mapping", f"0-1{'0' * 16}") == "ERANGE"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_range_is_appended_whoever_has_the_device(flavour: str):
    machine = Machine(flavour)
    device = machine.create(BLOCK, bound=True)
    assert machine.write("dax0.1/mapping", at(4, 2)) == "ok"
    assert device.size == 3 * BLOCK
    assert [(machine.read(f"dax0.1/mapping{n}/start"), machine.read(f"dax0.1/mapping{n}/page_offset")) for n in (0, 1)]
    assert machine.read("dax0.1/mapping1/page_offset") == "0x200"
    assert mapped(device).touch(1 << 44) == REGION_START


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_start_of_a_range_may_be_anywhere(flavour: str):
    machine = Machine(flavour)
    assert machine.write("dax0.0/mapping", at(2, shift=4096)) == "ok"
    assert machine.read("dax0.0/mapping0/start") == f"{REGION_START + 2 * BLOCK + 4096:#x}"


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("text", [at(-1), at(BLOCKS), at(BLOCKS - 1, 2), at(1), at(0, 2), at(0, 1, 4096)])
def test_a_range_that_is_taken_or_outside_is_enomem(flavour: str, text: str):
    machine = Machine(flavour)
    machine.create(2 * BLOCK)
    assert machine.write("dax0.0/mapping", text) == "ENOMEM"
    assert machine.read("dax0.0/size") == "0"


@pytest.mark.parametrize(
    "text",
    [
        f"{REGION_START:#x}-{REGION_START + 0xFFF:#x}",
        f"{REGION_START:#x}-{REGION_START + BLOCK:#x}",
        "0-1",
        f"{REGION_START + 2 * BLOCK:#x}-{REGION_START:#x}",
    ],
)
def test_a_misaligned_length_is_ignored_on_6_12_and_enxio_on_6_1(machine: Machine, old: Machine, text: str):
    assert (machine.write("dax0.0/mapping", text), old.write("dax0.0/mapping", text)) == ("ok", "ENXIO")
    assert machine.read("dax0.0/size") == old.read("dax0.0/size") == "0"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_aligned_reversed_range_is_enomem(flavour: str):
    text = f"{REGION_START + 2 * BLOCK:#x}-{REGION_START + BLOCK - 1:#x}"
    assert Machine(flavour).write("dax0.0/mapping", text) == "ENOMEM"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_empty_range_is_busy_unless_the_device_is_empty(flavour: str):
    machine = Machine(flavour)
    assert machine.write("dax0.0/mapping", at(1, 0)) == "ok"
    machine.create(BLOCK)
    assert machine.write("dax0.1/mapping", at(1, 0)) == "EBUSY"


# -- memmap_on_memory ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [("1", "EOPNOTSUPP"), ("y\n", "EOPNOTSUPP"), ("on", "EOPNOTSUPP"), ("0", "ok"), ("no", "ok"), ("of", "ok")],
)
@pytest.mark.parametrize("driver", ["none", "device_dax", "kmem"])
def test_this_machine_has_no_memmap_on_memory(text: str, answer: str, driver: str):
    machine = Machine(size=G, driver=driver)
    assert machine.write("dax0.0/memmap_on_memory", text) == answer
    assert machine.read("dax0.0/memmap_on_memory") == "0"


@pytest.mark.parametrize("text", ["", "q", "2", " 1", "-1"])
def test_memmap_on_memory_is_a_truth_value(machine: Machine, text: str):
    assert machine.write("dax0.0/memmap_on_memory", text) == "EINVAL"


def test_a_change_is_busy_while_kmem_has_the_device():
    machine = Machine(size=G, driver="kmem")
    machine.device("dax0.0").memmap_on_memory = True
    assert machine.write("dax0.0/memmap_on_memory", "0") == "EBUSY"
    machine.core.bus.unbind(machine.device("dax0.0"))
    assert machine.write("dax0.0/memmap_on_memory", "0") == "ok"


def test_6_1_has_no_memmap_on_memory(old: Machine):
    assert old.read("dax0.0/memmap_on_memory") is None
    assert old.write("dax0.0/memmap_on_memory", "0") == "EACCES"
