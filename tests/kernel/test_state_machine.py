"""Any sequence of operations, against an oracle that knows sizes, drivers, names and liveness."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.file import BusError, File, Vma
from daxemu.kernel.flavour import FLAVOURS
from daxemu.kernel.providers import find_provider
from daxemu.kernel.pseudofs import NodeInode
from daxemu.sysfs.tree import device_path, find_store

from .fakes import BLOCK, MAP_AT, REGION_START, FakePorts, dax_open, errno_of, fake_ports

BLOCKS = 12
PICK = st.integers(0, 1 << 16)
SIZES = st.integers(0, 6).map(lambda blocks: blocks * BLOCK) | st.sampled_from([4096, BLOCK + 4096])
DRIVERS = st.sampled_from(["device_dax", "kmem"])
REGION_END = REGION_START + BLOCKS * BLOCK


@dataclass
class Expected:
    """What the oracle believes of one device."""

    size: int
    bound: bool
    alive: bool
    immortal: bool = False
    poisoned: bool = False
    align: int = BLOCK
    touched: dict[int, int] = field(default_factory=dict)

    @property
    def unit(self) -> int:
        return max(self.align, BLOCK)


class DaxMachine(RuleBasedStateMachine):
    steps = 0  # of all machines

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[DevDax, Expected] = {}
        self.removed: dict[DevDax, Expected] = {}
        self.files: list[File] = []
        self.vmas: list[Vma] = []
        self.ids: dict[str, set[str]] = {"device_dax": set(), "kmem": set()}
        self.seed: DevDax | None = None
        self.youngest: DevDax | None = None
        self.told: dict[str, str | None] = {}

    @initialize(idle=st.booleans(), flavour=st.sampled_from(sorted(FLAVOURS)))
    def boot(self, idle: bool, flavour: str) -> None:
        self.core = DaxCore(FakePorts(), flavour=FLAVOURS[flavour])
        self.core.boot()
        size = BLOCKS * BLOCK
        self.region = self.core.add_region(find_provider("hmem"), start=REGION_START, size=size, align=BLOCK, idle=idle)
        first = self.region.children["dax0.0"]
        self.expected[first] = Expected(0 if idle else size, not idle, not idle, immortal=True)
        if not idle:
            self.ids["device_dax"].add(first.name)

    def pick(self, number: int) -> tuple[DevDax, Expected]:
        device = list(self.expected)[number % len(self.expected)]
        return device, self.expected[device]

    def free(self) -> int:
        return BLOCKS * BLOCK - sum(expected.size for expected in self.expected.values())

    def write(self, path: str, text: str) -> int | None:
        """Write an attribute as a program does: of a device, of ``dax_region``, of a driver or the bus."""
        return errno_of(lambda: find_store(self.core, path)(text))

    def write_region(self, name: str, text: str) -> int | None:
        return self.write(f"sys/{self.region.sysfs_parent}/dax_region/{name}", text)

    def write_driver(self, driver: str, name: str, text: str) -> int | None:
        return self.write(f"sys/bus/dax/drivers/{driver}/{name}", text)

    # -- life and death -------------------------------------------------------------------------

    @rule(size=SIZES, bind=st.booleans())
    def make(self, size: int, bind: bool) -> None:
        refused = (
            errno.EINVAL if size % BLOCK
            else errno.ENOSPC if size > self.free()
            else errno.ENXIO if bind and not size
            else None
        )  # fmt: skip
        if bind and not all(map(self.whole, self.expected)):
            return  # what is left may be in pieces that no driver takes
        driver = "device_dax" if bind else "none"
        assert errno_of(lambda: self.made(self.core.create_device(self.region, size, driver=driver), bind)) == refused

    def made(self, device: DevDax, bind: bool) -> None:
        self.expected[device] = Expected(device.size, bind, bind)
        if bind:
            self.ids["device_dax"].add(device.name)

    @rule(number=st.sampled_from(["1", "+1\n", "0", "2", "x", ""]))
    def create(self, number: str) -> None:
        refused = errno.EINVAL if number.strip() not in ("1", "+1") else None if self.free() else errno.ENOSPC
        before = set(self.core.bus.devices.values())
        assert self.write_region("create", number) == refused
        if refused is None:
            [self.youngest] = set(self.core.bus.devices.values()) - before
            self.seed = self.seed or self.youngest
            self.expected[self.youngest] = Expected(0, bound=False, alive=False)

    @rule(number=PICK)
    def delete(self, number: int) -> None:
        device, expected = self.pick(number)
        refused = errno.EBUSY if expected.bound or expected.size or expected.immortal else None
        assert self.write_region("delete", f"{device.name}\n") == refused
        if refused is None:
            self.forget(device)

    @rule()
    def delete_nobody(self) -> None:
        assert self.write_region("delete", "dax0.99") == errno.ENXIO

    @rule(number=PICK)
    @precondition(lambda self: len(self.expected) > 1)
    def remove(self, number: int) -> None:
        device, expected = self.pick(number)
        if not expected.immortal and device not in (self.seed, self.youngest):
            self.core.remove_device(device)
            self.forget(device)

    def forget(self, device: DevDax) -> None:
        self.removed[device] = self.expected.pop(device)
        self.removed[device].alive = False
        self.seed = None if self.seed is device else self.seed
        self.youngest = None if self.youngest is device else self.youngest

    # -- size and shape -------------------------------------------------------------------------

    @rule(number=PICK, size=SIZES)
    def resize(self, number: int, size: int) -> None:
        device, expected = self.pick(number)
        refused = (
            errno.EINVAL if size % expected.unit
            else errno.EBUSY if expected.bound
            else errno.ENOSPC if size > self.free() + expected.size
            else None
        )  # fmt: skip
        assert self.write(f"{device_path(device)}/size", hex(size)) == refused
        if refused is None:
            expected.size = size
            expected.touched = {offset: phys for offset, phys in expected.touched.items() if offset < size}

    @rule(number=PICK, align=st.sampled_from([4096, BLOCK, 1 << 30, 8192, 0]))
    def set_align(self, number: int, align: int) -> None:
        device, expected = self.pick(number)
        refused = (
            errno.EINVAL if align not in (4096, BLOCK, 1 << 30)
            else errno.EBUSY if expected.bound
            else errno.EINVAL if any(piece.size % max(align, BLOCK) for piece in device.ranges)
            else None
        )  # fmt: skip
        assert self.write(f"{device_path(device)}/align", f"{align}\n") == refused
        if refused is None:
            expected.align = align

    @rule(number=PICK, at=st.integers(-1, BLOCKS), blocks=st.integers(0, 3), skew=st.sampled_from([0, 0, 4096]))
    def add_range(self, number: int, at: int, blocks: int, skew: int) -> None:
        device, expected = self.pick(number)
        start = REGION_START + at * BLOCK + (0 if expected.bound else skew)
        end = start + blocks * BLOCK - 1
        taken = any(piece.start <= end and start <= piece.end for other in self.expected for piece in other.ranges)
        lenient = self.core.flavour.mapping_ignores_misaligned
        misaligned = (end + 1 - start) % expected.unit
        refused = (
            (None if lenient else errno.ENXIO) if misaligned
            else (errno.EBUSY if expected.size else None) if not blocks
            else errno.ENOMEM if taken or start < REGION_START or end >= REGION_END
            else None
        )  # fmt: skip
        assert self.write(f"{device_path(device)}/mapping", f"{start:x}-{end:#x}\n") == refused
        if refused is None and not misaligned:
            expected.size += blocks * BLOCK

    # -- drivers --------------------------------------------------------------------------------

    @staticmethod
    def whole(device: DevDax) -> bool:
        """Does every range begin and end where memory can be given pages?"""
        return not any(piece.start % BLOCK or piece.size % BLOCK for piece in device.ranges)

    def matches(self, driver: str, device: DevDax) -> bool:
        typed = "kmem" if self.core.flavour.match_by_type else "device_dax"
        return device.name in self.ids[driver] or driver == typed

    def binding(self, driver: str, device: DevDax) -> int | None:
        """What binding a device to a driver that takes it comes to; the oracle is told."""
        expected = self.expected[device]
        if expected.bound:
            return errno.EBUSY
        if not expected.size:
            return errno.ENXIO
        if driver == "kmem":  # no range here is as large as a memory block
            return errno.EINVAL
        if expected.poisoned or not self.whole(device):
            expected.poisoned = True
            return errno.EINVAL
        expected.bound = expected.alive = True
        self.seed = None if self.seed is device else self.seed
        return None

    @rule(number=PICK, driver=DRIVERS)
    def bind(self, number: int, driver: str) -> None:
        device, _ = self.pick(number)
        refused = self.binding(driver, device) if self.matches(driver, device) else errno.ENODEV
        assert self.write_driver(driver, "bind", device.name) == refused

    @rule(number=PICK, driver=DRIVERS)
    def unbind(self, number: int, driver: str) -> None:
        device, expected = self.pick(number)
        refused = None if expected.bound and driver == "device_dax" else errno.ENODEV
        assert self.write_driver(driver, "unbind", device.name) == refused
        if refused is None:
            expected.bound = expected.alive = False

    @rule(number=PICK, driver=DRIVERS)
    def new_id(self, number: int, driver: str) -> None:
        device, _ = self.pick(number)
        self.ids[driver].add(device.name)
        for other in list(self.expected):
            if self.matches(driver, other):
                self.binding(driver, other)
        assert self.write_driver(driver, "new_id", f"{device.name}\n") is None

    @rule(number=PICK, driver=DRIVERS)
    def remove_id(self, number: int, driver: str) -> None:
        device, _ = self.pick(number)
        self.ids[driver].discard(device.name)
        assert self.write_driver(driver, "remove_id", device.name) is None

    @rule(number=PICK)
    def drivers_probe(self, number: int) -> None:
        device, _ = self.pick(number)
        for driver in self.ids:
            if self.matches(driver, device):
                self.binding(driver, device)
        assert self.write("sys/bus/dax/drivers_probe", device.name) is None

    @rule(number=PICK)
    def kill(self, number: int) -> None:
        device, expected = self.pick(number)
        device.kill()
        expected.alive = False

    @rule(number=PICK)
    def run(self, number: int) -> None:
        device, expected = self.pick(number)
        assert errno_of(device.run) == (None if expected.bound else errno.ENXIO)
        expected.alive = expected.bound

    # -- files and mappings ---------------------------------------------------------------------

    @rule(number=PICK)
    def open(self, number: int) -> None:
        device, expected = self.pick(number)
        refused = None if expected.alive else errno.ENXIO
        assert errno_of(lambda: self.files.append(dax_open(self.core, NodeInode(device.devt)))) == refused

    @rule(number=PICK, blocks=st.integers(1, 8), at=st.integers(0, 4), shared=st.booleans(), skew=st.booleans())
    @precondition(lambda self: self.files)
    def mmap(self, number: int, blocks: int, at: int, shared: bool, skew: bool) -> None:
        file = self.files[number % len(self.files)]
        start = MAP_AT + at * 64 * BLOCK + (4096 if skew else 0)
        refused = errno.ENXIO
        if self.alive(file):
            aligned = not (start | blocks * BLOCK) % self.expected[file.private_data].align
            refused = None if aligned and shared else errno.EINVAL
        assert errno_of(lambda: self.vmas.append(file.mmap(start, blocks * BLOCK, shared=shared))) == refused

    def alive(self, file: File) -> bool:
        device = file.private_data
        return device in self.expected and self.expected[device].alive

    @rule(number=PICK, offset=st.integers(0, 8 * BLOCK - 1))
    @precondition(lambda self: self.vmas)
    def touch(self, number: int, offset: int) -> None:
        vma = self.vmas[number % len(self.vmas)]
        offset %= vma.length
        device = vma.file.private_data
        if (
            not self.alive(vma.file)
            or offset >= self.expected[device].size
            or (vma.start | vma.length) % self.expected[device].align
        ):
            with pytest.raises(BusError):
                vma.touch(vma.start + offset)
            return
        phys = vma.touch(vma.start + offset)
        assert self.expected[device].touched.setdefault(offset, phys) == phys
        assert sum(piece.start <= phys <= piece.end for piece in device.ranges) == 1

    @rule(number=PICK)
    @precondition(lambda self: self.vmas)
    def munmap(self, number: int) -> None:
        self.vmas.pop(number % len(self.vmas)).munmap()

    @rule(number=PICK)
    @precondition(lambda self: self.files)
    def release(self, number: int) -> None:
        file = self.files.pop(number % len(self.files))
        file.release()
        self.vmas = [vma for vma in self.vmas if vma.file is not file]

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def the_model_agrees_with_the_oracle(self) -> None:
        assert set(self.core.bus.devices.values()) == self.expected.keys()
        for device, expected in self.expected.items():
            assert (device.size, device.alive, device.align) == (expected.size, expected.alive, expected.align)
            assert device.pgmap == (expected.bound or expected.poisoned)
            assert (device.driver is not None) == expected.bound

        assert (self.region.seed, self.region.youngest) == (self.seed, self.youngest)
        assert {name: driver.ids for name, driver in self.core.bus.drivers.items()} == self.ids
        DaxMachine.steps += 1

    @invariant()
    def who_knows_only_the_uevents_knows_who_is_bound(self) -> None:
        ports = fake_ports(self.core)
        for event in ports.uevents:
            if event.subsystem == "dax":
                self.told[event.sys_name] = event.driver
            if event.action == "remove":
                del self.told[event.sys_name]
        ports.uevents.clear()
        assert self.told == {
            device.name: "device_dax" if expected.bound else None for device, expected in self.expected.items()
        }

    @invariant()
    def ranges_partition_the_region(self) -> None:
        pieces = sorted((r.start, r.end) for device in self.expected for r in device.ranges)
        assert all(start <= end for start, end in pieces)
        assert all(before[1] < after[0] for before, after in pairwise(pieces))
        if pieces:
            assert pieces[0][0] >= REGION_START
            assert pieces[-1][1] < REGION_START + BLOCKS * BLOCK
        assert self.region.available_size() == self.free()

    @invariant()
    def each_device_is_the_sum_of_its_ranges_in_order(self) -> None:
        for device, expected in self.expected.items():
            offset = 0
            for piece in device.ranges:
                assert piece.pgoff * 4096 == offset
                offset += piece.end - piece.start + 1
            assert offset == expected.size == device.backing.size
            ids = [piece.mapping_id for piece in device.ranges]
            assert len(set(ids)) == len(ids) == len(device.mapping_ida)

    @invariant()
    def alive_means_bound_and_dead_means_no_page(self) -> None:
        for device in [*self.expected, *self.removed]:
            assert not device.alive or device.driver is not None
            for mapper in device.inode.i_mapping.i_mmap:
                assert device.alive or not mapper.pages

    @invariant()
    def minors_and_inodes_are_one_to_one(self) -> None:
        held = {device for device in self.removed if any(file.private_data is device for file in self.files)}
        devices = held | self.expected.keys()
        minors = [device.devt.minor for device in devices]
        assert len(set(minors)) == len(minors) == len(self.core.minor_ida)
        assert {id(inode) for inode in self.core.super_block.inodes()} == {id(device.inode) for device in devices}
        assert all(device.inode.i_rdev == device.devt for device in devices)
        assert len(fake_ports(self.core).backings) == len(devices)

    @invariant()
    def the_address_space_knows_exactly_the_mappings(self) -> None:
        for device in self.expected:
            mine = [vma for vma in self.vmas if vma.file.private_data is device]
            assert len(device.inode.i_mapping.i_mmap) == len(mine)
            assert all(vma in device.inode.i_mapping.i_mmap for vma in mine)

    @invariant()
    def onlookers_see_what_there_is(self) -> None:
        seen = {name: state for name, state in fake_ports(self.core).shown.items() if name != "region0"}
        assert seen == {
            device.name: (expected.size, expected.alive, "device_dax" if expected.bound else None)
            for device, expected in self.expected.items()
        }

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        for file in self.files:
            file.release()
        self.core.shutdown()
        assert len(self.core.minor_ida) == len(self.core.region_ida) == 0
        assert fake_ports(self.core).backings == []
        assert fake_ports(self.core).shown == {}


def test_any_sequence_of_operations():
    DaxMachine.steps = 0
    run_state_machine_as_test(
        DaxMachine, settings=settings(database=None, deadline=None, max_examples=300, stateful_step_count=50)
    )
    assert DaxMachine.steps >= 10_000
