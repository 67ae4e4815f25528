"""``daxemu device``, ``region`` and ``fault``: what happens in a running session."""

import json

import pytest

from daxemu import Engine
from daxemu.control import DEVICE_VERBS, REGION_VERBS

from .conftest import error_line


def state(device) -> tuple:
    driver = device._device.driver
    return device.unplugged, device.alive, device.read_only, driver and driver.name


@pytest.mark.parametrize("name", ["dax0.0", "/dev/dax1.0"])
def test_each_verb_and_the_one_that_undoes_it(daxemu, engine, name):
    device = engine._find_device(name)
    expected = {
        "kill": (False, False, False, "device_dax"),
        "revive": (False, True, False, "device_dax"),
        "unbind": (False, False, False, None),
        "bind": (False, True, False, "device_dax"),
        "read-only": (False, True, True, "device_dax"),
        "read-write": (False, True, False, "device_dax"),
        "unplug": (True, False, False, None),
        "replug": (False, True, False, "device_dax"),
    }
    others = {"inject-poison", "clear-poison", "list-poison", "record", "stop-recording", "power-fail"}
    assert expected.keys() | others == DEVICE_VERBS.keys()
    for verb, wanted in expected.items():
        result = daxemu("device", verb, name)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert state(device) == wanted, verb


def test_bind_to_another_driver(daxemu, engine):
    engine.add_region("256M", provider="hmem", idle=False)

    daxemu("device", "unbind", "dax2.0")
    result = daxemu("device", "bind", "dax2.0", "--driver", "kmem")

    assert result.returncode == 0, result.stderr
    assert engine._find_device("dax2.0")._device.driver.name == "kmem"


def test_memory_breaks_and_is_mended(daxemu, engine):
    device = engine.devices[0]

    assert daxemu("device", "inject-poison", "dax0.0").returncode == 0
    assert daxemu("device", "inject-poison", "dax0.0", "--offset", "2M", "--length", "1K").returncode == 0
    assert device.poison == [(0, 512), (2 << 20, 1024)]
    assert [line.split() for line in daxemu("device", "list-poison", "/dev/dax0.0", "dax1.0").stdout.splitlines()] == [
        ["Device", "Offset", "Length"],
        ["dax0.0", "0", "512"],
        ["dax0.0", "2097152", "1024"],
    ]
    assert json.loads(daxemu("device", "list-poison", "dax0.0", "--json").stdout) == [
        {"device": "dax0.0", "offset": 0, "length": 512},
        {"device": "dax0.0", "offset": 2 << 20, "length": 1024},
    ]
    assert daxemu("device", "clear-poison", "dax0.0", "--offset", "2M", "--length", "512").returncode == 0
    assert device.poison == [(0, 512), ((2 << 20) + 512, 512)]
    assert daxemu("device", "clear-poison", "dax0.0").returncode == 0
    assert device.poison == []
    assert daxemu("device", "list-poison", "dax0.0").stdout == "Nothing is broken.\n"


def test_broken_memory_is_broken_when_it_returns(daxemu, engine):
    for name in ("dax0.0", "dax1.0"):
        daxemu("device", "inject-poison", name)
        daxemu("device", "unplug", name)
        daxemu("device", "replug", name)

    assert [device.poison for device in engine.devices] == [[(0, 512)], [(0, 512)]]


def test_several_devices_at_once(daxemu, engine):
    assert daxemu("device", "kill", "dax0.0", "dax1.0").returncode == 0

    assert [device.alive for device in engine.devices] == [False, False]


def test_regions_come_and_go(daxemu, engine):
    assert daxemu("region", "add", "size=2M", "size=4M,provider=hmem").stdout == "dax2.0\ndax3.0\n"
    assert daxemu("region", "unplug", "0", "2").returncode == 0
    assert [region.id for region in engine.regions] == [1, 3]
    assert daxemu("region", "replug", "2").returncode == 0
    assert daxemu("region", "remove", "1").returncode == 0
    assert [device.size for device in engine.devices] == [2 << 20, 4 << 20]
    assert {"unplug", "replug", "remove"} == REGION_VERBS.keys()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["device", "kill", "dax9.0"], "no device 'dax9.0'; there are: dax0.0, dax1.0"),
        (["device", "unbind", "dax0.0", "dax0.0"], "dax0.0 is not bound [ENODEV]"),
        (["device", "replug", "dax1.0"], "dax1.0 is not unplugged [EBUSY]"),
        (
            ["device", "bind", "dax1.0", "--driver", "vfio"],
            "no driver 'vfio' on the dax bus; there are: device_dax, kmem [ENODEV]",
        ),
        (["device", "kill", "dax1.0", "--offset", "1"], "--offset is not for 'kill'; leave it out"),
        (["device", "inject-poison", "dax1.0", "--json"], "--json is not for 'inject-poison'; leave it out"),
        (["region", "unplug", "7"], "no region 7; there are: 0, 1"),
        (["region", "unplug", "dax0.0"], "region 'dax0.0': give its number, the X of its devices daxX.Y"),
        (["region", "add", "size=3"], "size '3' is not a multiple of the alignment 2M; give a size such as '2M'"),
        (["fault", "add", "open"], "a fault at 'open' that does nothing: give an errno such as 'EIO', or a delay"),
        (["fault", "remove", "3"], "no fault 3; there are: none"),
    ],
)
def test_what_is_refused_is_told_in_a_line(daxemu, engine, arguments, text):
    result = daxemu(*arguments)

    assert result.returncode == 2
    assert error_line(result) == text


def test_a_fault_from_its_beginning_to_its_end(daxemu, engine):
    assert daxemu("fault", "list").stdout == "There are no faults.\n"
    added = daxemu("fault", "add", "store", "*/size", "--errno", "ENOSPC", "--after", "1", "--times", "1")
    assert (added.returncode, added.stdout) == (0, "1\n")
    assert daxemu("fault", "add", "zap", "--delay", "0.5").stdout == "2\n"
    size = "/sys/devices/platform/hmem.1/dax1.0/size"
    engine.devices[1].unbind()

    script = f"for i in 1 2 3; do echo 0 > {size} && echo ok || echo failed; done"
    written = daxemu("run", "--session", "rig", "--", "bash", "-c", script)

    assert written.stdout.split() == ["ok", "failed", "ok"]
    assert "No space left on device" in written.stderr
    assert [line.split() for line in daxemu("fault", "list").stdout.splitlines()] == [
        ["Fault", "Point", "Path", "What", "Hits"],
        ["1", "store", "*/size", "ENOSPC,", "after", "1,", "1", "time", "1"],
        ["2", "zap", "*", "0.5", "s", "late", "2"],  # unbind, and the shrink
    ]
    assert [fault["hits"] for fault in json.loads(daxemu("fault", "list", "--json").stdout)] == [1, 2]
    assert daxemu("fault", "remove", "1").returncode == 0
    assert [fault.id for fault in engine.faults] == [2]
    assert daxemu("fault", "clear").returncode == 0
    assert len(engine.faults) == 0


@pytest.mark.parametrize("command", [["device", "kill", "dax0.0"], ["region", "unplug", "0"], ["fault", "list"]])
def test_without_a_session_or_with_several_one_is_asked_which(daxemu, command):
    nowhere = daxemu(*command)
    with Engine(session="one") as one, Engine(session="two") as two:
        one.environ()
        two.environ()
        unclear = daxemu(*command)

    assert error_line(nowhere) == "no session is running; start one with: daxemu serve"
    assert error_line(unclear) == "several sessions are running: one, two; say which one with --session NAME"
    assert (nowhere.returncode, unclear.returncode) == (2, 2)
