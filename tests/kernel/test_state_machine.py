"""Any sequence of operations, against an oracle that knows only sizes, drivers and liveness."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daxemu.kernel.device import DevDax
from daxemu.kernel.file import BusError, File, Vma
from daxemu.kernel.providers import find_provider
from daxemu.kernel.pseudofs import NodeInode

from .fakes import BLOCK, MAP_AT, REGION_START, booted, dax_open, errno_of, fake_ports

BLOCKS = 12
PICK = st.integers(0, 1 << 16)
SIZES = st.integers(0, 6).map(lambda blocks: blocks * BLOCK) | st.sampled_from([4096, BLOCK + 4096])


@dataclass
class Expected:
    """What the oracle believes of one device."""

    size: int
    bound: bool
    alive: bool
    immortal: bool = False
    touched: dict[int, int] = field(default_factory=dict)


class DaxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.core = booted()
        self.expected: dict[DevDax, Expected] = {}
        self.removed: dict[DevDax, Expected] = {}
        self.files: list[File] = []
        self.vmas: list[Vma] = []
        self.ever_mapped: list[Vma] = []

    @initialize(idle=st.booleans())
    def add_region(self, idle: bool) -> None:
        size = BLOCKS * BLOCK
        self.region = self.core.add_region(find_provider("hmem"), start=REGION_START, size=size, align=BLOCK, idle=idle)
        first = self.region.children["dax0.0"]
        self.expected[first] = Expected(0 if idle else size, not idle, not idle, immortal=True)

    def pick(self, number: int) -> tuple[DevDax, Expected]:
        device = list(self.expected)[number % len(self.expected)]
        return device, self.expected[device]

    def free(self) -> int:
        return BLOCKS * BLOCK - sum(expected.size for expected in self.expected.values())

    @rule(size=SIZES, bind=st.booleans())
    def create(self, size: int, bind: bool) -> None:
        refused = (
            errno.EINVAL if size % BLOCK
            else errno.ENOSPC if size > self.free()
            else errno.ENXIO if bind and not size
            else None
        )  # fmt: skip
        assert (
            errno_of(
                lambda: self.made(
                    self.core.create_device(self.region, size, driver="device_dax" if bind else "none"), bind
                )
            )
            == refused
        )

    def made(self, device: DevDax, bind: bool) -> None:
        self.expected[device] = Expected(device.size, bind, bind)

    @rule(number=PICK, size=SIZES)
    def resize(self, number: int, size: int) -> None:
        device, expected = self.pick(number)
        refused = (
            errno.EINVAL if size % BLOCK
            else errno.EBUSY if expected.bound
            else errno.ENOSPC if size > self.free() + expected.size
            else None
        )  # fmt: skip
        assert errno_of(device.resize, size) == refused
        if refused is None:
            expected.size = size
            expected.touched = {offset: phys for offset, phys in expected.touched.items() if offset < size}

    @rule(number=PICK)
    def delete(self, number: int) -> None:
        device, expected = self.pick(number)
        refused = errno.EBUSY if expected.bound or expected.size or expected.immortal else None
        assert errno_of(self.core.delete_device, device) == refused
        if refused is None:
            self.forget(device)

    @rule(number=PICK)
    @precondition(lambda self: len(self.expected) > 1)
    def remove(self, number: int) -> None:
        device, expected = self.pick(number)
        if not expected.immortal:
            self.core.remove_device(device)
            self.forget(device)

    def forget(self, device: DevDax) -> None:
        self.removed[device] = self.expected.pop(device)
        self.removed[device].alive = False

    @rule(number=PICK)
    def bind(self, number: int) -> None:
        device, expected = self.pick(number)
        refused = errno.EBUSY if expected.bound else None if expected.size else errno.ENXIO
        assert errno_of(self.core.bus.bind, device) == refused
        if refused is None:
            expected.bound = expected.alive = True

    @rule(number=PICK)
    def unbind(self, number: int) -> None:
        device, expected = self.pick(number)
        assert errno_of(self.core.bus.unbind, device) == (None if expected.bound else errno.ENODEV)
        expected.bound = expected.alive = False

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
        refused = errno.ENXIO if not self.alive(file) else errno.EINVAL if skew or not shared else None
        assert errno_of(lambda: self.vmas.append(file.mmap(start, blocks * BLOCK, shared=shared))) == refused
        self.ever_mapped.extend(self.vmas[-1:])

    def alive(self, file: File) -> bool:
        device = file.private_data
        return device in self.expected and self.expected[device].alive

    @rule(number=PICK, offset=st.integers(0, 8 * BLOCK - 1))
    @precondition(lambda self: self.vmas)
    def touch(self, number: int, offset: int) -> None:
        vma = self.vmas[number % len(self.vmas)]
        offset %= vma.length
        device = vma.file.private_data
        if not self.alive(vma.file) or offset >= self.expected[device].size:
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
            assert (device.size, device.alive) == (expected.size, expected.alive)
            assert (device.driver is not None) == expected.bound

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
        for file in self.files:
            file.release()
        self.core.shutdown()
        assert len(self.core.minor_ida) == len(self.core.region_ida) == 0
        assert fake_ports(self.core).backings == []
        assert fake_ports(self.core).shown == {}


TestDaxMachine = DaxMachine.TestCase
TestDaxMachine.settings = settings(database=None, deadline=None, max_examples=120, stateful_step_count=40)
