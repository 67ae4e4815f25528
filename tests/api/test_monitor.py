"""Uevents and the kernel's log, as a test sees them."""

from __future__ import annotations

import errno
import threading

import pytest

import daxemu
from daxemu import monitor as monitor_module
from daxemu.errors import KernelError, UsageError


def actions(monitor: daxemu.Monitor) -> list[str]:
    found = []
    while (event := monitor.poll(0)) is not None:
        found.append(f"{event.action} {event.sys_name}")
    return found


def test_a_monitor_hears_what_happens_from_its_making_on():
    with daxemu.Engine() as engine:
        region = engine.add_region("8M", provider="hmem")
        with engine.monitor() as monitor:
            region.create_device("4M")
            assert actions(monitor) == ["bind dax0.0"]
            region.create_device("2M").destroy()
            assert actions(monitor) == ["add dax0.1", "bind dax0.1", "unbind dax0.1", "remove dax0.1"]
        region.create_device("2M")
        assert actions(monitor) == []


def test_each_monitor_hears_everything():
    with daxemu.Engine() as engine, engine.monitor() as one, engine.monitor() as other:
        engine.add_region("2M", provider="hmem", idle=False)
        assert actions(one) == actions(other) == ["add hmem.0", "add dax0.0", "bind dax0.0", "bind hmem.0"]


def test_an_attribute_write_is_heard():
    with daxemu.Engine() as engine:
        engine.add_region("2M", provider="hmem", idle=False)
        with engine.monitor() as monitor:
            engine.write_attribute("/sys/devices/platform/hmem.0/dax0.0/uevent", "change")
            event = monitor.poll(5)
            assert event.device_node == "/dev/dax0.0"
            assert event.properties["SYNTH_UUID"] == "0"


def test_iteration_waits_and_ends_with_the_engine():
    engine = daxemu.Engine()
    heard = []
    monitor = engine.monitor()
    thread = threading.Thread(target=lambda: heard.extend(event.action for event in monitor))
    thread.start()
    engine.add_region("2M", provider="hmem", idle=False)
    engine.close()
    thread.join(10)
    assert not thread.is_alive()
    assert heard == ["add", "add", "bind", "bind", "unbind", "remove", "unbind", "remove"]


def test_polling_gives_up_after_its_time_and_at_once_when_closed():
    with daxemu.Engine() as engine, engine.monitor() as monitor:
        assert monitor.poll(0.01) is None
        monitor.close()
        assert monitor.poll() is None


def test_a_monitor_that_nobody_reads_drops_the_oldest_and_says_so(monkeypatch):
    monkeypatch.setattr(monitor_module, "_MOST", 3)
    with daxemu.Engine() as engine, engine.monitor() as monitor:
        engine.add_region("2M", provider="hmem", idle=False)
        engine.add_region("2M", provider="hmem", idle=False)
        with pytest.raises(KernelError, match="5 uevents were dropped") as refused:
            monitor.poll(0)
        assert refused.value.errno == errno.ENOBUFS
        assert actions(monitor) == ["add dax1.0", "bind dax1.0", "bind hmem.1"]


def test_a_closed_engine_cannot_be_listened_to():
    engine = daxemu.Engine()
    engine.close()
    with pytest.raises(UsageError):
        engine.monitor()


# -- the log ------------------------------------------------------------------------------------


def refuse(engine: daxemu.Engine, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(KernelError):
            engine.write_attribute("/sys/bus/dax/uevent", "bogus")


def test_the_log_is_a_sequence_of_lines():
    with daxemu.Engine() as engine:
        assert list(engine.kmsg) == []
        refuse(engine)
        [record] = engine.kmsg
        assert (record.level, record.text) == (4, "synth uevent: /bus/dax: unknown uevent action string")
        assert 0 <= record.seconds < 60
        assert str(record).startswith("[    0.")
        assert repr(engine.kmsg) == str(record)
        refuse(engine)
        assert engine.kmsg[-1].text == record.text
        assert engine.kmsg[:1] == [record]


def test_the_log_keeps_the_newest():
    with daxemu.Engine() as engine:
        refuse(engine, 5000)
        assert len(engine.kmsg) == 4096


def test_following_begins_with_what_there_is_and_ends_with_the_engine():
    engine = daxemu.Engine()
    refuse(engine)
    lines = []
    thread = threading.Thread(target=lambda: lines.extend(engine.kmsg.follow()))
    thread.start()
    refuse(engine, 2)
    engine.close()
    thread.join(10)
    assert len(lines) == 3


def test_a_program_that_writes_nonsense_is_logged_too():
    with daxemu.Engine() as engine:
        device = engine.add_region("2M").devices[0]
        device.run(["sh", "-c", f"echo bogus > /sys/bus/dax/devices/{device.name}/uevent"], capture_output=True)
        assert [record.level for record in engine.kmsg] == [4, 3]
