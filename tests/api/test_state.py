"""A machine that is kept on disk: there again with the next engine, however the one before ended."""

import json
import os
import random
import signal
import struct
import sys
from contextlib import suppress

import pytest

from daxemu import Engine, KernelError, UsageError

M = 1 << 20


def write(device, at, data):
    with device.open() as file, file.mmap() as memory:
        memory[at : at + len(data)] = data


def read(device, at, length):
    with device.open("r") as file, file.mmap() as memory:
        return memory[at : at + length]


def shape(engine):
    """All that is to be the same the next time."""
    return [
        (region.id, region.provider, region.size, region.align, [(d.name, d.size, d.align) for d in region.devices])
        for region in engine.regions
    ]


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_regions_devices_and_bytes_are_there_again(state):
    with Engine(state=state, kernel="6.1") as engine:
        engine.add_region("8M")
        region = engine.add_region("32M", provider="hmem")
        first, second = region.create_device("4M"), region.create_device("8M")
        first.resize("6M")
        write(engine.devices[0], 5 * M, b"nvdimm")
        write(first, 5 * M, b"first")
        write(second, 7 * M, b"second")
        before = shape(engine)

    with Engine(state=state) as engine:
        assert shape(engine) == before
        assert engine._core.flavour.name == "6.1"
        nvdimm, first, second = engine.devices
        assert read(nvdimm, 5 * M, 6) == b"nvdimm"
        assert read(first, 5 * M, 5) == b"first"
        assert read(second, 7 * M, 6) == b"second"
        engine.regions[1].create_device("2M")
    with Engine(state=state) as engine:
        assert [device.name for device in engine.devices] == ["dax0.0", "dax1.0", "dax1.1", "dax1.2"]


def test_what_a_device_gave_up_is_kept_for_the_next_owner(state):
    with Engine(state=state) as engine:
        device = engine.add_region("16M", provider="hmem").create_device("8M")
        write(device, 6 * M, b"parked")
        device.resize("4M")
    with Engine(state=state) as engine:
        [device] = engine.devices
        device.resize("8M")
        assert read(device, 6 * M, 6) == b"parked"


def test_attributes_written_by_programs_are_kept(state):
    home = "/sys/bus/dax/devices/dax0.0"
    script = f"echo dax0.0 > {home}/driver/unbind && echo 4096 > {home}/align && echo 1 > {home}/../dax_region/create"
    with Engine(state=state) as engine:
        engine.add_region("16M", provider="hmem", idle=False)
        device = engine.devices[0]
        parent = "/sys/devices/platform/hmem.0"
        script = (
            f"echo dax0.0 > {home}/driver/unbind && echo 4194304 > {home}/size && echo 4096 > {home}/align && "
            f"echo 1 > {parent}/dax_region/create && echo 0 > /sys/bus/dax/drivers_autoprobe"
        )
        engine.run(script, shell=True, check=True)
        assert device.align == 4096
    with Engine(state=state) as engine:
        shown = engine.run(
            f"cat {home}/align {home}/size {parent}/dax_region/seed /sys/bus/dax/drivers_autoprobe; "
            f"test -e {home}/driver || echo unbound",
            shell=True,
            check=True,
            capture_output=True,
            text=True,
        )
        assert shown.stdout.split() == ["4096", "4194304", "dax0.1", "0", "unbound"]


def test_a_gap_in_the_numbers_stays(state):
    with Engine(state=state) as engine:
        gone, stays = engine.add_region("4M"), engine.add_region("4M")
        write(stays.devices[0], 0, b"stays")
        gone.remove()
    assert sorted(path.name for path in (state / "memory").iterdir() if path.name.startswith("dax")) == ["dax1.0"]
    with Engine(state=state) as engine:
        assert [(d.name, read(d, 0, 5)) for d in engine.devices] == [("dax1.0", b"stays")]
        assert engine.add_region("4M").devices[0].name == "dax0.0"


def test_poison_and_unplugged_hardware_are_kept(state):
    with Engine(state=state) as engine:
        device = engine.add_region("8M").devices[0]
        device.inject_poison(4 * M, 512)
        other = engine.add_region("8M", provider="hmem", idle=False)
        write(other.devices[0], 0, b"away")
        other.unplug()
    with Engine(state=state) as engine:
        assert engine.devices[0].poison == [(4 * M, 512)]
        [other] = [region for region in engine._regions.values() if region.unplugged]
        other.replug()
        assert read(other.devices[0], 0, 4) == b"away"


def test_one_engine_at_a_time(state):
    with Engine(state=state), pytest.raises(UsageError, match="is in use by another engine"):
        Engine(state=state)
    Engine(state=state).close()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"{", "is no state that can be read"),
        (b"[]", "is no state that can be read"),
        (b'{"version": 1}', "is no state that can be read"),
        (b'{"version": 99, "machine": {}}', "is of version 99, this daxemu reads version 1"),
        (b'{"version": 1, "machine": {"kernel": "6.12", "drivers": ["kmem"]}}', "is no state that can be restored"),
        (b'{"version": 1, "machine": {"kernel": "9.9"}}', "unknown kernel '9.9'"),
    ],
)
def test_a_state_that_cannot_be_read_is_refused_and_left_alone(state, text, complaint):
    Engine(state=state).close()
    file = state / "state.json"
    file.write_bytes(text)
    (state / "memory" / "dax0.0").write_bytes(b"data")

    with pytest.raises(UsageError, match=complaint):
        Engine(state=state)

    assert file.read_bytes() == text
    assert (state / "memory" / "dax0.0").read_bytes() == b"data"


def test_what_is_wrong_inside_a_state_leaves_it_alone(state):
    with Engine(state=state) as engine:
        engine.add_region("4M", provider="hmem", idle=False)
    file = state / "state.json"
    saved = json.loads(file.read_text())
    saved["machine"]["regions"][0]["devices"][0]["ranges"] = [[0, 4095]]
    file.write_text(json.dumps(saved))

    with pytest.raises(UsageError, match=r"is no state that can be restored .*cannot have the ranges"):
        Engine(state=state)

    assert json.loads(file.read_text()) == saved


def test_a_store_that_forgets_is_refused(state):
    with Engine(state=state) as engine, pytest.raises(UsageError, match="backend 'tmpfs' forgets"):
        engine.add_region("4M", backend="tmpfs")


def test_a_state_that_cannot_be_written_is_an_error_and_the_one_before_stays(state, monkeypatch):
    with Engine(state=state) as engine:
        engine.add_region("8M", provider="hmem")
        before = (state / "state.json").read_text()

        def refuse(fd):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            engine.regions[0].create_device("4M")
        monkeypatch.undo()
        assert (state / "state.json").read_text() == before


# -- ended by force -----------------------------------------------------------------------------


def _live(state, seed, acknowledge):
    """Change things for ever; say after each change what is true now. Runs in a child, until it is killed."""
    chance = random.Random(seed)
    with Engine(state=state) as engine:
        region = engine.regions[0] if engine.regions else engine.add_region("32M", provider="hmem")
        while True:
            devices = region.devices
            with suppress(KernelError):
                kind = chance.randrange(4)
                if kind == 0 or not devices:
                    device = region.create_device(chance.randrange(1, 5) * 2 * M)
                    mark(device, chance.getrandbits(60))
                elif kind == 1:
                    chance.choice(devices).destroy()
                elif kind == 2:
                    chance.choice(devices).resize(chance.randrange(1, 5) * 2 * M)
                else:
                    mark(chance.choice(devices), chance.getrandbits(60))
            facts = {device.name: [device.size, *marks(device)] for device in region.devices}
            os.write(acknowledge, struct.pack("I", len(text := json.dumps(facts).encode())) + text)


def mark(device, value):
    """A value at the begin of each 2 MiB."""
    with device.open() as file, file.mmap() as memory:
        for at in range(0, device.size, 2 * M):
            memory[at : at + 8] = struct.pack("Q", value + at)


def marks(device):
    with device.open("r") as file, file.mmap() as memory:
        return [struct.unpack("Q", memory[at : at + 8])[0] for at in range(0, device.size, 2 * M)]


def _told(pipe, facts):
    """What was true after the last change that was told."""
    data = b""
    while chunk := os.read(pipe, 1 << 20):
        data += chunk
    while len(data) >= 4 and len(data) >= 4 + struct.unpack_from("I", data)[0]:
        length = struct.unpack_from("I", data)[0]
        facts = json.loads(data[4 : 4 + length])
        data = data[4 + length :]
    return facts


def kill_at_random(state, rounds, seed):
    chance = random.Random(seed)
    now = {}
    for _ in range(rounds):
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            try:
                _live(state, chance.getrandbits(30), into)
            finally:
                os._exit(1)
        os.close(into)
        signal.sigtimedwait([], chance.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = _told(out, now)
        os.close(out)
        chance.getrandbits(30)
        with Engine(state=state) as engine:
            now = {d.name: [d.size, *marks(d)] for d in engine.devices}
            size = sum(device.size for device in engine.devices)
            if engine.regions:
                assert engine.regions[0].available_size == engine.regions[0].size - size
        # One change may have been under way, of one device.
        changed = {name for name in told.keys() | now.keys() if told.get(name) != now.get(name)}
        assert len(changed) <= 1, (told, now)


def test_nothing_that_was_acknowledged_is_lost_by_sigkill(state):
    kill_at_random(state, 40, seed=1)


if __name__ == "__main__":
    kill_at_random(sys.argv[1], int(sys.argv[2]), seed=int(sys.argv[3]))
