"""Physical memory against a model of it: whatever becomes of devices, each byte is where it was written."""

import errno
import os
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daxemu import DaxBusError, Engine, KernelError
from daxemu.backing.tmpfs import TmpfsStore

BLOCK = 2 << 20
BLOCKS = 10
PROBES = (0, (1 << 20) + 3, BLOCK - 1)  # where blocks are written and looked at
DRIVER = "/sys/bus/dax/drivers/device_dax"


def physical(device, offset):
    """Offset in the region of a byte of a device; None past its end."""
    for piece in device._device.ranges:
        start = piece.pgoff * 4096
        if start <= offset < start + piece.size:
            return piece.start - device.region._hardware.start + offset - start
    return None


class Held:
    """A mapping that stays open whatever happens to its device."""

    def __init__(self, device):
        self.device = device
        self.file = device.open()
        self.memory = self.file.mmap()

    def close(self):
        self.memory.close()
        self.file.close()


class Memory(RuleBasedStateMachine):
    """One dynamic region; ``bytes`` is what has been written, by offset in the region."""

    def __init__(self):
        super().__init__()
        self.engine = Engine()
        self.region = self.engine.add_region(BLOCKS * BLOCK, provider="hmem")
        self.bytes: dict[int, int] = {}
        self.held: list[Held] = []
        self.clock = 0

    def teardown(self):
        for held in self.held:
            held.close()
        self.engine.close()

    # -- what is done ---------------------------------------------------------------------------

    def device(self, data):
        return data.draw(st.sampled_from(self.region.devices), label="device")

    def write(self, attribute, text):
        """As an administrator who does not look: what is refused has changed nothing."""
        with suppress(KernelError):
            self.engine.write_attribute(attribute, text)

    def attribute(self, device, name):
        return f"/sys/devices/platform/hmem.0/{device.name}/{name}"

    @precondition(lambda self: self.region.available_size)
    @rule(blocks=st.integers(1, 4))
    def create(self, blocks):
        with suppress(KernelError):
            self.region.create_device(blocks * BLOCK)

    @precondition(lambda self: self.region.devices)
    @rule(data=st.data(), blocks=st.integers(1, 6))
    def resize(self, data, blocks):
        with suppress(KernelError):
            self.device(data).resize(blocks * BLOCK)

    @precondition(lambda self: self.region.devices)
    @rule(data=st.data())
    def destroy(self, data):
        self.device(data).destroy()

    @precondition(lambda self: self.region.devices)
    @rule(data=st.data(), first=st.integers(0, BLOCKS - 1), blocks=st.integers(1, 3))
    def place(self, data, first, blocks):
        """Take a certain physical range, as the attribute ``mapping`` does."""
        start = self.region._hardware.start + first * BLOCK
        self.write(self.attribute(self.device(data), "mapping"), f"{start:x}-{start + blocks * BLOCK - 1:x}")

    @precondition(lambda self: self.region.devices)
    @rule(data=st.data(), align=st.sampled_from([4096, BLOCK]), blocks=st.integers(0, 5))
    def take_from_driver(self, data, align, blocks):
        device = self.device(data)
        self.write(f"{DRIVER}/unbind", device.name)
        self.write(self.attribute(device, "align"), str(align))
        if blocks:
            self.write(self.attribute(device, "size"), str(blocks * BLOCK))

    @precondition(lambda self: self.region.devices)
    @rule(data=st.data())
    def give_to_driver(self, data):
        self.write(f"{DRIVER}/bind", self.device(data).name)

    @precondition(lambda self: self.region.devices)
    @rule(data=st.data(), told=st.booleans())
    def kill(self, data, told):
        device = self.device(data)
        device.kill()
        if not told:  # there is a process that cannot be told
            device._device.backing.withdraw()

    @precondition(lambda self: self.region.devices)
    @rule(data=st.data())
    def revive(self, data):
        with suppress(KernelError):
            self.device(data).revive()

    @precondition(lambda self: any(device.alive for device in self.region.devices) and len(self.held) < 4)
    @rule(data=st.data())
    def hold(self, data):
        alive = [device for device in self.region.devices if device.alive]
        self.held.append(Held(data.draw(st.sampled_from(alive))))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), block=st.integers(0, 5), probe=st.sampled_from(PROBES))
    def store(self, data, block, probe):
        held = data.draw(st.sampled_from(self.held), label="mapping")
        offset = block * BLOCK + probe
        self.clock = self.clock % 255 + 1
        if offset < len(held.memory) and self.expected(held, offset) is not None:
            held.memory[offset] = self.clock
            self.bytes[physical(held.device, offset)] = self.clock

    # -- what must be so ------------------------------------------------------------------------

    def expected(self, held, offset):
        """The byte at an offset of a mapping; None for SIGBUS."""
        if not held.device.alive or physical(held.device, offset) is None:
            return None
        return self.bytes.get(physical(held.device, offset), 0)

    def check(self, held):
        for offset in range(0, len(held.memory), BLOCK):
            for at in (offset + probe for probe in PROBES):
                try:
                    seen = held.memory[at]
                except DaxBusError:
                    seen = None
                assert seen == self.expected(held, at), f"{held.device} at {at:#x}"

    @invariant()
    def mappings_show_the_memory_that_their_device_has_now(self):
        for held in self.held:
            self.check(held)

    @invariant()
    def devices_show_what_their_ranges_held(self):
        for device in self.region.devices:
            if device.alive:
                fresh = Held(device)
                assert len(fresh.memory) == device.size
                self.check(fresh)
                fresh.close()


Memory.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestMemory = Memory.TestCase


def test_bytes_that_outlive_the_session_are_never_taken_out_of_their_file(monkeypatch):
    monkeypatch.setattr(TmpfsStore, "persistent", True)
    with Engine() as engine:
        device = engine.add_region(2 * BLOCK).devices[0]
        with device.open() as file, file.mmap() as memory:
            memory[5] = 55
        kept = os.dup(device._device.backing.fd)
        device.kill()
        device._device.backing.withdraw()
        assert os.pread(kept, 1, 5) == b"\x37"
    assert os.pread(kept, 1, 5) == b"\x37"
    os.close(kept)


@pytest.fixture
def fragmented():
    """A device of three ranges, with bytes in all of them and in what is free."""
    with Engine() as engine:
        region = engine.add_region(8 * BLOCK, provider="hmem")
        first, second, third, last = (region.create_device(2 * BLOCK) for _ in range(4))
        for number, device in enumerate((first, second, third, last)):
            with device.open() as file, file.mmap() as memory:
                memory[0], memory[BLOCK] = 10 + number, 20 + number
        first.destroy()
        third.destroy()
        yield region, second, last


def contents(device):
    with device.open("r") as file, file.mmap() as memory:
        assert os.fstat(file.fileno()).st_size == device.size
        return [memory[offset] for offset in range(0, len(memory), BLOCK)]


@pytest.mark.parametrize("good", range(3))
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.ENOMEM], ids=errno.errorcode.get)
def test_memory_that_runs_out_half_way_changes_nothing(fragmented, monkeypatch, good, error):
    """Copies succeed ``good`` times, then there is no room; later there is."""
    region, second, last = fragmented
    copy = TmpfsStore.copy

    def starved(operation):
        """Whether it fails."""
        calls = []

        def fail(store, *args):
            calls.append(args)
            if len(calls) > good:
                copy(store, *args[:-1], args[-1] // 2)
                raise OSError(error, "no room")
            copy(store, *args)

        with monkeypatch.context() as patch:
            patch.setattr(TmpfsStore, "copy", fail)
            try:
                operation()
            except KernelError as refused:
                return refused.errno == error
        return False

    if starved(lambda: last.resize(6 * BLOCK)):
        assert (contents(second), contents(last), region.available_size) == ([11, 21], [13, 23], 4 * BLOCK)
        last.resize(6 * BLOCK)
    assert contents(last) == [13, 23, 10, 20, 12, 22]
    if starved(lambda: last.resize(2 * BLOCK)):
        assert (contents(last), region.available_size) == ([13, 23, 10, 20, 12, 22], 0)
        last.resize(2 * BLOCK)
    assert starved(lambda: region.create_device(4 * BLOCK)) == (good < 2)
    heir = region.devices[0] if good == 2 else region.create_device(4 * BLOCK)
    assert (contents(heir), contents(second)) == ([10, 20, 12, 22], [11, 21])
