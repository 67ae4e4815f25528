"""Every store of an attribute, its answers, and the order of its checks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from daxemu.errors import KernelError
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.flavour import FLAVOURS
from daxemu.kernel.providers import find_provider
from daxemu.kernel.region import DaxRegion
from daxemu.sysfs.directory import File
from daxemu.sysfs.tree import bus_tree, device_path, device_tree, find_store, region_tree
from tests.kernel.fakes import BLOCK, REGION_START, FakePorts, G, M, errno_of, fake_ports, mapped

BLOCKS = 16
TOO_LARGE = "99999999999999999999999"
NAMES = errno.errorcode | {errno.EOPNOTSUPP: "EOPNOTSUPP"}
DRIVERS = "sys/bus/dax/drivers"


class Machine:
    """A core with one region, and what a program does with its attributes."""

    def __init__(self, flavour: str = "6.12", provider: str = "hmem", **options) -> None:
        options = {"start": REGION_START, "size": BLOCKS * BLOCK, "align": BLOCK} | options
        drivers = options.pop("drivers", ("device_dax", "kmem"))
        self.core = DaxCore(FakePorts(), flavour=FLAVOURS[flavour], drivers=drivers)
        self.core.boot()
        idle = find_provider(provider).static is False and "driver" not in options
        self.region: DaxRegion = self.core.add_region(find_provider(provider), idle=idle, **options)

    def path(self, attribute: str) -> str:
        """Path of ``dax0.1/size``, ``create``, ``device_dax/bind``, ``drivers_probe``."""
        owner, _, name = attribute.partition("/")
        if owner.startswith("dax0."):
            return f"sys/{self.region.sysfs_parent}/{attribute}"
        if name:
            return f"{DRIVERS}/{attribute}"
        on_bus = owner.startswith("drivers_")
        return f"sys/bus/dax/{owner}" if on_bus else f"sys/{self.region.sysfs_parent}/dax_region/{owner}"

    def write(self, attribute: str, text: str) -> str:
        """Name of the errno; "ok" without one."""
        error = errno_of(lambda: find_store(self.core, self.path(attribute))(text))
        return NAMES[error] if error else "ok"

    def read(self, attribute: str) -> str | None:
        """Text of the file, its newline left out; None without such a file."""
        tree = bus_tree(self.core.bus) | region_tree(self.region)
        for device in self.region.children.values():
            tree |= device_tree(device)
        file = tree.get(self.path(attribute))
        return file.text.removesuffix("\n") if isinstance(file, File) else None

    def device(self, name: str) -> DevDax:
        return self.region.children[name]

    def create(self, size: int = 0, *, bound: bool = False) -> DevDax:
        return self.core.create_device(self.region, size, driver="device_dax" if bound else "none")


@pytest.fixture
def machine() -> Machine:
    """6.12; a dynamic region of 16 blocks of 2 MiB, whose dax0.0 is empty."""
    return Machine()


@pytest.fixture
def old() -> Machine:
    """The same on 6.1."""
    return Machine("6.1")


@pytest.fixture
def static() -> Machine:
    return Machine(provider="pmem", driver="device_dax")


# -- all of it, as measured ---------------------------------------------------------------------

MEASURED = r"""
device_dax/new_id   dax              EINVAL
device_dax/new_id   dax99.0          ok
device_dax/new_id   dax99.0\n        ok
device_dax/new_id   dax099.0         EINVAL
device_dax/remove_id dax98.0         ok
device_dax/remove_id dax99.0         ok
device_dax/remove_id x               EINVAL
device_dax/bind     nope             ENODEV
device_dax/unbind   nope             ENODEV
drivers_probe       nope             ENODEV
device_dax/bind     dax0.0           ENODEV
device_dax/new_id   dax0.0           ok
dax0.0/size         1073741824\n     EBUSY
dax0.0/size         0                EBUSY
dax0.0/size         4096             EINVAL
dax0.0/size         abc              EINVAL
dax0.0/align        4096             EBUSY
dax0.0/align        3                EINVAL
dax0.0/align        junk             ENXIO
create              1                ENOSPC
create              2                EINVAL
create              x                EINVAL
create              \n               EINVAL
delete              dax0.0           EBUSY
delete              dax7.7           ENXIO
dax0.0/memmap_on_memory 1            EOPNOTSUPP
dax0.0/memmap_on_memory 0            ok
dax0.0/memmap_on_memory q            EINVAL
dax0.0/align        2097152          EBUSY
device_dax/unbind   dax0.0           ok
device_dax/unbind   dax0.0           ENODEV
device_dax/bind     dax0.0           ok
device_dax/bind     dax0.0           EBUSY
device_dax/unbind   dax0.0           ok
dax0.0/size         abc              EINVAL
dax0.0/size         -1               EINVAL
dax0.0/size         +0x200000        ok
dax0.0/size         0x400000\n       ok
dax0.0/size         99999999999999999999999 ERANGE
dax0.0/size         0x4000000000     ENOSPC
dax0.0/size         4096             EINVAL
dax0.0/size         010000000        ok
dax0.0/size         =                2097152
available_size      =                1071644672
dax0.0/align        4096             ok
dax0.0/size         4096             EINVAL
dax0.0/align        1073741824       EINVAL
dax0.0/align        0x200000         ok
dax0.0/align        8192             EINVAL
dax0.0/align        0                EINVAL
dax0.0/align        z                ENXIO
dax0.0/align        99999999999999999999999 ENXIO
dax0.0/size         0                ok
dax0.0/size         =                0
dax0.0/resource     =                0x140000000
dax0.0/mapping0/start =              None
device_dax/bind     dax0.0           ENXIO
drivers_probe       dax0.0           ok
delete              dax0.0           EBUSY
dax0.0/mapping      0x140000000-0x1401fffff\n ok
dax0.0/size         =                2097152
dax0.0/mapping      0x140000000-0x1401fffff\n ENOMEM
dax0.0/mapping      0x140400000-0x140400fff\n ok
dax0.0/size         =                2097152
dax0.0/mapping      0x140401000-0x140600fff\n ok
dax0.0/size         =                4194304
dax0.0/mapping1/start =              0x140401000
dax0.0/mapping1/page_offset =        0x200
dax0.0/mapping      0x13fe00000-0x13fffffff\n ENOMEM
dax0.0/mapping      0x140800000-0x1407fffff\n EBUSY
dax0.0/mapping      0x140a00000-0x140800000\n ok
dax0.0/mapping      1234             EINVAL
dax0.0/mapping      zz-yy            EINVAL
dax0.0/mapping      10-20            ok
dax0.0/mapping      0x1-0x2-0x3      EINVAL
dax0.0/size         0                ok
dax0.0/mapping      0x140800000-0x1407fffff\n ok
create              =
seed                =
create              1                ok
create              =                dax0.1
seed                =                dax0.1
create              0x1\n            ok
create              =                dax0.2
seed                =                dax0.1
dax0.1/size         =                0
dax0.1/align        =                2097152
dax0.1/resource     =                0x140000000
dax0.1/dev          =                252:1
dax0.1/size         0x400000         ok
dax0.2/size         0x400000         ok
dax0.1/size         0x800000         ok
dax0.2/size         0x800000         ok
dax0.1/mapping0/start =              0x140000000
dax0.1/mapping0/end =                0x1403fffff
dax0.1/mapping1/start =              0x140800000
dax0.1/mapping1/end =                0x140bfffff
dax0.1/mapping1/page_offset =        0x400
dax0.2/mapping0/start =              0x140400000
dax0.2/mapping0/end =                0x1407fffff
dax0.2/mapping1/start =              0x140c00000
dax0.2/mapping1/end =                0x140ffffff
dax0.1/size         0x600000         ok
dax0.1/mapping1/end =                0x1409fffff
dax0.1/size         0x200000         ok
dax0.1/mapping0/end =                0x1401fffff
dax0.1/mapping1/start =              None
dax0.0/size         0x600000         ok
dax0.0/mapping0/start =              0x140200000
dax0.0/mapping0/end =                0x1403fffff
dax0.0/mapping1/start =              0x140800000
dax0.0/mapping1/end =                0x140bfffff
dax0.0/mapping1/page_offset =        0x200
available_size      =                1056964608
delete              dax0.1           EBUSY
device_dax/bind     dax0.2           ENODEV
seed                =                dax0.1
device_dax/new_id   dax0.1           ok
seed                =
delete              dax0.1           EBUSY
device_dax/unbind   dax0.1           ok
dax0.2/mapping      0-1              ok
dax0.1/size         0                ok
delete              dax0.1           ok
delete              dax0.1           ENXIO
create              =                dax0.2
create              1                ok
create              =                dax0.1
device_dax/new_id   dax0.2           ok
"""


def test_a_whole_life_is_as_on_linux_6_12():
    """Transcript of a run on hardware's kernel: 1 GiB of soft-reserved memory at 5 GiB, no kmem loaded."""
    machine = Machine(start=0x140000000, size=G, driver="none", drivers=("device_dax",))
    wrong = []
    for number, line in enumerate(MEASURED.strip().splitlines(), 1):
        attribute, text, *expected = line.split()
        got = str(machine.read(attribute)) if text == "=" else machine.write(attribute, text.replace("\\n", "\n"))
        if got != "".join(expected):
            wrong.append(f"{number}: {line}: {got}")
    assert not wrong


# -- size ---------------------------------------------------------------------------------------


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


# -- align --------------------------------------------------------------------------------------


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


# -- create, seed, youngest ---------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "2", "-1", "-0", "x", "", "\n", "1 ", " 1", "0x", "+-1"])
@pytest.mark.parametrize("full", [True, False])
def test_only_1_creates_and_that_is_checked_before_the_space(machine: Machine, text: str, full: bool):
    machine.create(BLOCKS * BLOCK if full else 0)
    assert machine.write("create", text) == "EINVAL"


@pytest.mark.parametrize("text", ["2147483648", "-2147483649", TOO_LARGE])
def test_a_number_too_large_for_an_int_does_not_create(machine: Machine, text: str):
    assert machine.write("create", text) == "ERANGE"


def test_a_full_region_creates_nothing(machine: Machine):
    machine.create(BLOCKS * BLOCK)
    assert machine.write("create", "1") == "ENOSPC"
    assert list(machine.region.children) == ["dax0.0", "dax0.1"]


@pytest.mark.parametrize("text", ["1", "1\n", "+1", "0x1", "01"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_1_creates_an_empty_unbound_device(flavour: str, text: str):
    machine = Machine(flavour)
    assert machine.write("create", text) == "ok"
    device = machine.device("dax0.1")
    assert (device.size, device.driver, device.align) == (0, None, machine.region.align)


def test_the_first_device_is_neither_seed_nor_youngest():
    machine = Machine(driver="none")
    assert (machine.read("seed"), machine.read("create")) == ("", "")


def test_the_seed_stays_the_first_the_youngest_is_the_last(machine: Machine):
    machine.write("create", "1")
    machine.write("create", "1")
    assert (machine.read("seed"), machine.read("create")) == ("dax0.1", "dax0.2")


def test_only_a_successful_bind_of_the_seed_ends_it(machine: Machine):
    machine.write("create", "1")
    machine.write("create", "1")
    machine.write("device_dax/new_id", "dax0.1")
    machine.write("dax0.2/size", str(BLOCK))
    machine.write("device_dax/new_id", "dax0.2")
    assert machine.read("seed") == "dax0.1", "empty: it could not be bound"
    machine.write("dax0.1/size", str(BLOCK))
    assert machine.write("device_dax/bind", "dax0.1") == "ok"
    assert machine.read("seed") == ""
    machine.write("create", "1")
    assert machine.read("seed") == "dax0.3"
    machine.write("device_dax/unbind", "dax0.1")
    assert machine.read("seed") == "dax0.3"


def test_onlookers_see_the_seed_end(machine: Machine, monkeypatch):
    machine.write("create", "1")
    machine.write("dax0.1/size", str(BLOCK))
    seen = []
    publish = fake_ports(machine.core).publish
    monkeypatch.setattr(
        machine.core.ports, "publish", lambda event: (publish(event), seen.append(machine.read("seed"))), raising=True
    )
    machine.write("device_dax/new_id", "dax0.1")
    assert seen[-1] == ""


def test_deleting_ends_seed_and_youngest(machine: Machine):
    machine.write("create", "1")
    machine.write("create", "1")
    machine.write("delete", "dax0.2")
    assert (machine.read("seed"), machine.read("create")) == ("dax0.1", "")
    machine.write("delete", "dax0.1\n")
    assert (machine.read("seed"), machine.read("create")) == ("", "")


# -- delete -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "\n", "dax0.7", "dax7.7", "dax0", "dax0.1 ", "dax_region", "device_dax"])
def test_what_is_no_device_of_the_region_cannot_be_deleted(machine: Machine, name: str):
    machine.create()
    assert machine.write("delete", name) == "ENXIO"


def test_another_regions_device_cannot_be_deleted(machine: Machine):
    other = machine.core.add_region(find_provider("hmem"), start=2 * REGION_START, size=G, align=BLOCK, idle=True)
    machine.core.create_device(other, 0, driver="none")
    assert machine.write("delete", "dax1.1") == "ENXIO"
    assert "dax1.1" in other.children


def test_a_bound_device_and_one_with_a_size_are_busy(machine: Machine):
    device = machine.create(BLOCK, bound=True)
    assert machine.write("delete", "dax0.1") == "EBUSY"
    machine.core.bus.unbind(device)
    assert machine.write("delete", "dax0.1") == "EBUSY"
    machine.write("dax0.1/size", "0")
    assert machine.write("delete", "dax0.1") == "ok"
    assert machine.write("delete", "dax0.1") == "ENXIO"


def test_the_first_device_stays_for_ever(machine: Machine):
    assert machine.write("delete", "dax0.0") == "EBUSY"
    assert machine.read("dax0.0/size") == "0"


def test_the_id_of_a_deleted_device_is_free_at_once(machine: Machine):
    device = machine.create()
    device.get()
    machine.write("delete", "dax0.1")
    machine.write("create", "1")
    assert machine.read("create") == "dax0.1"
    assert machine.device("dax0.1").devt != device.devt
    device.put()


# -- mapping ------------------------------------------------------------------------------------


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


# -- memmap_on_memory ---------------------------------------------------------------------------


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


# -- new_id, remove_id --------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["device_dax/new_id", "device_dax/remove_id", "kmem/new_id", "kmem/remove_id"])
@pytest.mark.parametrize("text", ["", "x", "dax", "dax0", "dax099.0", " dax0.0", "dax0.0 ", "dax0.0x", "dax0.0\n\n"])
def test_an_id_is_exactly_a_devices_name(machine: Machine, attribute: str, text: str):
    assert machine.write(attribute, text) == "EINVAL"


def test_an_id_may_be_added_and_removed_any_number_of_times(machine: Machine):
    for text in ("dax99.0", "dax99.0\n"):
        assert machine.write("device_dax/new_id", text) == "ok"
        assert machine.write("device_dax/new_id", text) == "ok"
    assert machine.core.bus.drivers["device_dax"].ids == {"dax99.0"}
    for text in ("dax99.0\n", "dax99.0", "dax98.0"):
        assert machine.write("device_dax/remove_id", text) == "ok"
    assert not machine.core.bus.drivers["device_dax"].ids


def test_new_id_succeeds_where_the_probe_fails(machine: Machine):
    assert machine.write("device_dax/new_id", "dax0.0") == "ok"
    assert machine.device("dax0.0").driver is None


# -- bind, unbind -------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["device_dax/bind", "device_dax/unbind", "kmem/bind", "kmem/unbind"])
@pytest.mark.parametrize("text", ["", "\n", "nope", "dax7.0", "dax0.0 ", "dax0.0\n\n"])
def test_a_device_that_is_not_there_is_neither_bound_nor_unbound(machine: Machine, attribute: str, text: str):
    assert machine.write(attribute, text) == "ENODEV"


def test_bind_asks_whether_the_driver_takes_the_device_before_all_else(machine: Machine):
    assert machine.write("device_dax/bind", "dax0.0") == "ENODEV", "empty"
    machine.create(BLOCK)
    assert machine.write("device_dax/bind", "dax0.1") == "ENODEV", "kmem's"
    machine.write("device_dax/new_id", "dax0.1")
    machine.write("device_dax/remove_id", "dax0.1")
    assert machine.write("device_dax/bind", "dax0.1") == "ENODEV", "bound, but not matching"


def test_bind_of_a_bound_device_is_busy_whoever_has_it(machine: Machine):
    machine.create(BLOCK, bound=True)
    assert machine.write("device_dax/bind", "dax0.1\n") == "EBUSY"
    assert machine.write("kmem/bind", "dax0.1") == "EBUSY"


def test_bind_passes_on_what_the_probe_answers(machine: Machine):
    machine.write("device_dax/new_id", "dax0.0")
    assert machine.write("device_dax/bind", "dax0.0") == "ENXIO"
    machine.create(BLOCK)
    assert machine.write("kmem/bind", "dax0.1") == "EINVAL", "no whole memory block"


def test_unbind_is_for_the_driver_that_has_the_device(machine: Machine):
    device = machine.create(BLOCK, bound=True)
    assert machine.write("kmem/unbind", "dax0.1") == "ENODEV"
    assert machine.write("device_dax/unbind", "dax0.1\n") == "ok"
    assert machine.write("device_dax/unbind", "dax0.1") == "ENODEV"
    assert machine.write("device_dax/bind", "dax0.1") == "ok"
    assert device.alive


def test_a_static_device_binds_without_an_id(static: Machine):
    static.core.bus.drivers["device_dax"].ids.clear()
    assert static.write("device_dax/unbind", "dax0.0") == "ok"
    assert static.write("device_dax/bind", "dax0.0") == "ok"


# -- the bus ------------------------------------------------------------------------------------


def test_drivers_probe_offers_an_unbound_device_to_the_drivers():
    machine = Machine(size=G, driver="none")
    assert machine.write("drivers_probe", "nope") == "ENODEV"
    assert machine.write("drivers_probe", "dax0.0\n") == "ok"
    assert machine.device("dax0.0").driver is machine.core.bus.drivers["kmem"]
    assert machine.write("drivers_probe", "dax0.0") == "ok", "bound: nothing to do"


def test_drivers_probe_succeeds_where_no_driver_takes_the_device(machine: Machine):
    assert machine.write("drivers_probe", "dax0.0") == "ok"
    assert machine.device("dax0.0").driver is None


@pytest.mark.parametrize(("text", "on"), [("0", False), ("0\n", False), ("00", False), ("01", False), ("1", True)])
def test_autoprobe_is_off_for_a_0_and_on_for_anything_else(machine: Machine, text: str, on: bool):
    assert machine.read("drivers_autoprobe") == "1"
    machine.core.bus.autoprobe = not on
    assert machine.write("drivers_autoprobe", text) == "ok"
    assert machine.read("drivers_autoprobe") == str(int(on))


@pytest.mark.parametrize("text", ["", "\n", "x", "off", "n"])
def test_autoprobe_is_on_for_words(machine: Machine, text: str):
    machine.core.bus.autoprobe = False
    machine.write("drivers_autoprobe", text)
    assert machine.core.bus.autoprobe


# -- uevent -------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["dax0.0/uevent", "device_dax/uevent"])
@pytest.mark.parametrize(("text", "answer"), [("add", "ok"), ("change\n", "ok"), ("bogus", "EINVAL"), ("", "EINVAL")])
def test_uevent_takes_the_name_of_an_action(machine: Machine, attribute: str, text: str, answer: str):
    assert machine.write(attribute, text) == answer


# -- a static region ----------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["create", "delete", "seed", "available_size", "dax0.0/mapping"])
def test_a_static_region_lacks_what_would_change_it(static: Machine, attribute: str):
    assert static.read(attribute) is None
    assert static.write(attribute, "1") == "EACCES"


@pytest.mark.parametrize("attribute", ["dax0.0/size", "dax0.0/align"])
def test_size_and_alignment_of_a_static_device_cannot_be_written(static: Machine, attribute: str):
    static.core.bus.unbind(static.device("dax0.0"))
    assert static.write(attribute, "0") == "EACCES"
    assert static.device("dax0.0").size == BLOCKS * BLOCK


# -- which attribute it is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "attribute",
    [
        *("id", "size", "align", "available_size", "seed", "nosuch", "dax0.1/resource", "dax0.1/modalias"),
        *("dax0.1/dev", "dax0.1/target_node", "dax0.1/numa_node", "dax0.1/nosuch", "dax0.1/mapping0/start"),
        *("dax0.1/mapping0/end", "dax0.1/mapping0/page_offset", "dax0.1/mapping0/nosuch", "device_dax/nosuch"),
        "drivers_nosuch",
    ],
)
def test_what_cannot_be_written_is_eacces(machine: Machine, attribute: str):
    machine.create(BLOCK)
    assert machine.write(attribute, "1") == "EACCES"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "size",
        "sys/devices/platform/hmem.7/dax_region/create",
        "sys/devices/platform/hmem.0/dax0.7/size",
        "sys/devices/platform/hmem.7/dax0.0/size",
        "sys/devices/platform/hmem.0/dax0.1/mapping1/uevent",
        "sys/devices/platform/hmem.0/dax0.7/mapping0/uevent",
        "sys/bus/dax/drivers/nosuch/bind",
        "sys/bus/dax/devices/dax0.1/size",  # a link; programs are known by where their descriptor is
    ],
)
def test_what_is_not_there_is_enodev(machine: Machine, path: str):
    machine.create(BLOCK)
    with pytest.raises(KernelError) as refused:
        find_store(machine.core, path)
    assert refused.value.errno == errno.ENODEV


def test_a_store_of_a_range_that_is_gone_is_enodev(machine: Machine):
    machine.create(BLOCK)
    assert machine.write("dax0.1/mapping0/uevent", "change") == "ok"
    machine.write("dax0.1/size", "0")
    assert machine.write("dax0.1/mapping0/uevent", "change") == "ENODEV"


@pytest.mark.parametrize("end", ["delete", "region"])
def test_a_store_of_a_device_that_is_gone_is_enodev(machine: Machine, end: str):
    machine.create()
    assert machine.write("dax0.1/size", "0") == "ok"
    if end == "delete":
        machine.write("delete", "dax0.1")
    else:
        machine.core.remove_region(machine.region)
        assert machine.write("create", "1") == "ENODEV"
    assert machine.write("dax0.1/size", "0") == "ENODEV"


def test_what_was_found_before_the_device_went_is_enodev(machine: Machine):
    """The program has the file open; the store runs after the delete."""
    device = machine.create()
    stores: dict[str, Callable[[str], None]] = {
        name: find_store(machine.core, f"{device_path(device)}/{name}") for name in ("size", "align")
    }
    device.get()
    machine.write("delete", "dax0.1")
    assert {name: errno_of(store, str(BLOCK)) for name, store in stores.items()} == dict.fromkeys(stores, errno.ENODEV)
    device.put()


def test_every_attribute_that_can_be_written_is_found(machine: Machine):
    machine.create(BLOCK)
    tree = bus_tree(machine.core.bus) | region_tree(machine.region) | device_tree(machine.device("dax0.1"))
    files = {path: entry for path, entry in tree.items() if isinstance(entry, File) and not path.endswith("/")}
    writable = {path for path, file in files.items() if path.startswith("sys/") and file.mode & 0o222}
    assert {os.path.basename(path) for path in writable} >= {"size", "create", "bind", "drivers_probe", "mapping"}
    for path in writable:
        assert callable(find_store(machine.core, path))
