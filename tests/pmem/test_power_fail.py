"""Power goes: what survives, and what becomes of those who had the device mapped."""

import random
import sys

import pytest

from daxemu import DaxBusError, Engine, KernelError, UsageError
from daxemu.pmem import Recording
from daxemu.pmem import format as fmt
from daxemu.pmem.format import EVENT_PERSIST, EVENT_STORE
from daxemu.pmem.sites import Sites
from daxemu.pmem.states import CrashImage
from tests.pmem.logs import described, events, told


def read(device, offset, length):
    with device.open("r") as file, file.mmap() as m:
        return m.read(offset, length)


def test_what_was_persisted_survives_and_what_was_not_is_lost(device):
    with device.open() as file, file.mmap() as m, device.record():
        m[0:4] = b"safe"
        m.persist(0, 4)
        m[64:68] = b"lost"
        m[128:136] = b"only so "
        m.flush(128, 8)
        assert device.power_fail() == 2

    assert read(device, 0, 136) == b"safe".ljust(136, b"\0")


def test_what_was_there_before_the_recording_is_what_comes_back(device):
    with device.open() as file, file.mmap() as m:
        m[4096:4099] = b"old"
        with device.record():
            m[4096:4099] = b"new"
            device.power_fail()

    assert read(device, 4096, 3) == b"old"


def test_a_mapping_that_begins_within_the_device_is_recorded_where_it_lies(device, tmp_path):
    with device.open() as file, file.mmap("2M", offset="2M") as m, device.record(tmp_path / "rec"):
        m[100:101] = b"x"
        m.persist(100, 1)

    assert told(tmp_path / "rec") == [("store", (2 << 20) + 64, 64), ("persist", (2 << 20) + 100, 1)]


def test_old_mappings_are_dead_and_the_device_is_there_again(device):
    with device.open() as file, file.mmap() as m:
        device.power_fail("all")
        with pytest.raises(DaxBusError):
            m.read(0, 1)
    assert device.alive
    assert device.engine.devices == [device]
    assert read(device, 0, 1) == b"\0"


def test_a_seed_gives_each_line_one_of_its_contents(device):
    seen = set()
    for seed in range(12):
        with device.open() as file, file.mmap() as m:
            m[0:128] = bytes(128)
            with device.record():
                for value in (b"1", b"2"):
                    m[0:1] = value
                    m[64:65] = value
                    m.flush(0, 128)
                device.power_fail(seed)
        seen.add(bytes(read(device, at, 1)[0] for at in (0, 64)))
    assert len(seen) > 3
    assert set(b"".join(seen)) == {0, ord("1"), ord("2")}


def test_with_eadr_everything_survives():
    with Engine() as engine:
        device = engine.add_region("4M", persistence="cpu_cache").devices[0]
        with device.open() as file, file.mmap() as m:
            m[0:4] = b"safe"
            assert device.power_fail() == 0
        assert read(device, 0, 4) == b"safe"


def test_without_a_recording_nobody_knows_what_is_durable(device):
    with device.open() as file, file.mmap() as m:
        m[0:4] = b"here"
        with pytest.raises(UsageError, match=r"record it first, by device.record\(\)"):
            device.power_fail()
        assert m[0:4] == b"here"
        with pytest.raises(UsageError, match="'most'"):
            device.power_fail("most")


def persisted(device, offset, data, then=b""):
    """Store durably, and behind that what is not flushed."""
    with device.open() as file, file.mmap() as m:
        m[offset : offset + len(data)] = data
        m.persist(offset, len(data))
        m[offset + 64 : offset + 64 + len(then)] = then


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("provider", ["pmem", "hmem"])
def test_power_fails_again_and_again_within_one_recording(provider, kept, tmp_path):
    with Engine() as engine:
        device = engine.add_region("4M", provider=provider, idle=False).devices[0]
        with device.record(tmp_path / "rec" if kept else None):
            persisted(device, 0, b"one", then=b"lost")
            assert device.power_fail() == 1
            persisted(device, 128, b"two", then=b"also lost")
            assert device.power_fail() == 1
            assert device.power_fail() == 0
            persisted(device, 256, b"three", then=b"kept")
            assert device.power_fail("all") == 0
            persisted(device, 320, b"KEPT")
            persisted(device, 0, b"ONE", then=b"gone")
            assert device.power_fail() == 1
        assert read(device, 0, 4) + read(device, 64, 4) == b"ONE\0" + bytes(4)
        assert read(device, 128, 4) + read(device, 192, 4) == b"two\0" + bytes(4)
        assert read(device, 256, 5) + read(device, 320, 4) == b"threeKEPT"
        if kept:
            with Recording(tmp_path / "rec") as recording, CrashImage(recording) as image:
                image.advance(recording.end)
                assert [offset for offset, _ in image.pending] == []
                assert bytes(image.view[:384]) == read(device, 0, 384)


def test_a_seed_that_loses_something_is_what_is_durable_from_then_on(device):
    with device.record():
        for seed in range(8):
            persisted(device, 0, b"here", then=b"%d" % seed)
            device.power_fail(seed)
            left = read(device, 64, 1)
            assert device.power_fail("none") == 0
            assert read(device, 64, 1) == left


def test_a_recording_goes_on_where_its_device_comes_back(device):
    with device.record():
        persisted(device, 0, b"one")
        device.unplug()
        device.replug()
        persisted(device, 128, b"two", then=b"lost")
        assert device.power_fail() == 1
    assert read(device, 0, 3) + read(device, 128, 3) == b"onetwo"


def test_the_counter_of_unsafe_shutdowns_is_not_for_caches_and_is_kept(device):
    device.region.unsafe_shutdowns = 3
    with device.record():
        persisted(device, 0, b"one", then=b"lost")
        assert device.power_fail() == 1
        device.engine.reboot()
    assert device.region.unsafe_shutdowns == 3


def test_a_policy_that_is_none_changes_nothing(device):
    with device.open() as file, file.mmap() as m, device.record():
        with pytest.raises(UsageError, match="'most'"):
            device.engine.reboot("most")
        m[0:4] = b"here"
        assert m.read(0, 4) == b"here"


def test_a_recording_ends_where_its_device_does_not_come_back(tmp_path):
    with Engine() as engine:
        region = engine.add_region("4M", provider="hmem")
        device = region.create_device("2M")
        recorder = device.record(tmp_path / "rec")
        persisted(device, 0, b"one")
        engine.reboot()

        assert region.devices == []
        recorder.close()
        assert told(tmp_path / "rec")[:2] == [("store", 0, 64), ("persist", 0, 3)]
        region.create_device("4M").record().close()


def test_a_reboot_brings_every_region_back_as_at_boot(device):
    engine = device.engine
    other = engine.add_region("4M", provider="hmem")
    other.create_device("2M")
    with device.open() as file, file.mmap() as m, device.record():
        m[0:4] = b"lost"
        assert engine.reboot() == 1
        persisted(engine.devices[0], 64, b"saved", then=b"lost")
        assert engine.reboot() == 1

    assert [found.name for found in engine.devices] == ["dax0.0"]
    assert read(engine.devices[0], 0, 4) == bytes(4)
    assert read(engine.devices[0], 64, 5) == b"saved"


def test_a_recording_is_complete_when_it_ends(device, tmp_path):
    directory = tmp_path / "rec"
    with device.open() as file, file.mmap() as m:
        m[64:68] = b"base"
        with device.record(directory):
            m[0:4] = b"safe"
            m.persist()
            m.marker("saved")
            m[64:68] = b"late"
        m.persist()  # nobody records this

    assert told(directory) == [("store", 0, 64), ("persist", 0, 4 << 20), "marker", ("store", 64, 64)]
    assert (directory / "base").read_bytes()[64:68] == b"base"
    assert {"device": "dax0.0", "size": 4 << 20, "domain": "memory_controller"}.items() <= described(directory).items()


def test_one_recording_at_a_time_in_a_directory_of_its_own(device, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="exists"):
        device.record(tmp_path / "taken")
    with device.record(), pytest.raises(KernelError, match="recorded already"):
        device.record(tmp_path / "second")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_devices_are_recorded_each_for_itself_and_a_fence_is_one_for_all(tmp_path):
    with Engine() as engine:
        first, second = (engine.add_region("2M").devices[0] for _ in range(2))
        with first.open() as one, second.open() as two, one.mmap() as m, two.mmap() as n:
            recorders = [device.record(tmp_path / device.name) for device in (first, second)]
            m[0:1] = b"m"
            m.flush(0, 1)
            n[64:65] = b"n"
            n.persist(64, 1)
            n.persist(64, 1)
            m[128:129] = b"l"
            n.drain()
            for recorder in recorders:
                recorder.close()
    assert told(tmp_path / "dax0.0") == [("store", 0, 64), ("flush", 0, 1), "fence", ("store", 128, 64), "fence"]
    assert told(tmp_path / "dax1.0") == [("store", 64, 64), ("persist", 64, 1), ("persist", 64, 1), "fence"]


def test_a_reboot_takes_from_every_device_what_was_not_durable():
    with Engine() as engine:
        for _ in range(2):
            engine.add_region("2M").devices[0].record()
        for device in engine.devices:
            persisted(device, 0, b"safe", then=b"lost")
        assert engine.reboot() == 2
        for device in engine.devices:
            assert read(device, 0, 68) == b"safe".ljust(68, b"\0")
            persisted(device, 0, b"next", then=b"lost")
        assert engine.devices[1].power_fail() == 1
        assert read(engine.devices[0], 64, 4) == b"lost"


def test_a_reboot_that_one_recording_refuses_takes_nothing_from_the_others():
    with Engine() as engine:
        devices = [engine.add_region("2M").devices[0] for _ in range(2)]
        recorders = [device.record() for device in devices]
        with devices[0].open() as file, file.mmap() as m:
            m[0:4] = b"here"
            recorders[1]._log.stop(fmt.STOPPED_FULL)
            with pytest.raises(UsageError, match="what is durable is not known"):
                engine.reboot()
            assert [device.alive for device in devices] == [True, True]
            assert m[0:4] == b"here"


def test_so_many_devices_are_recorded_at_a_time(tmp_path):
    with Engine() as engine:
        devices = [engine.add_region("2M").devices[0] for _ in range(5)]
        recorders = [device.record() for device in devices[:4]]
        with pytest.raises(KernelError, match="4 devices are being recorded"):
            devices[4].record(tmp_path / "rec")
        assert not (tmp_path / "rec").exists()
        recorders[1].close()
        devices[4].record().close()


def test_flushes_of_what_was_not_changed_store_nothing(device, tmp_path):
    rng = random.Random(5)
    with device.open() as file, file.mmap() as m, device.record(tmp_path / "rec"):
        for _ in range(50):
            at = rng.randrange(0, 1 << 20)
            m[at : at + 1] = b"z"
            m.persist(at, 1)
            m.persist(at, 1)
    assert [event.type for event in events(tmp_path / "rec")] == [EVENT_STORE, EVENT_PERSIST, EVENT_PERSIST] * 50


def test_a_recording_that_there_was_no_room_for_says_so_and_keeps_its_begin(device, tmp_path, monkeypatch):
    monkeypatch.setattr(fmt, "LOG_MOST", 1 << 20)
    with device.open() as file, file.mmap() as m:
        recorder = device.record(tmp_path / "rec")
        for number in range(10_000):
            m[0:8] = number.to_bytes(8, "little")
            m.persist(0, 8)
        with pytest.raises(UsageError, match="does not have all events: no memory is left for them; those"):
            recorder.close()
        first = events(tmp_path / "rec")[:4]
        assert [event.type for event in first] == [EVENT_PERSIST, EVENT_STORE, EVENT_PERSIST, EVENT_STORE]

        device.record()
        for number in range(10_000):
            m[0:8] = number.to_bytes(8, "little")
            m.persist(0, 8)
        with pytest.raises(UsageError, match="what is durable is not known"):
            device.power_fail()
        assert m[0:8] == (9999).to_bytes(8, "little")


def test_a_line_of_python_that_flushes_is_named(device, tmp_path):
    with device.open() as file, file.mmap() as m, device.record(tmp_path / "rec"):
        m[0] = 1
        m.flush(0, 1)
        here = sys._getframe().f_lineno
        m.drain()
    with Recording(tmp_path / "rec") as recording:
        sites = Sites(recording.modules)
        named = [sites.name(event.site) for event in recording.events()]
    assert named == [f"test_power_fail.py:{line}" for line in (here - 1, here - 1, here + 1)]
