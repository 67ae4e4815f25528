"""Plugins and the hooks that they implement."""

import errno
import importlib
import os
import subprocess
import sys
from functools import partial

import pytest

from daxemu import Engine, KernelError, UsageError, __version__, hookspecs
from daxemu.errors import UnavailableError
from daxemu.plugins import find_store, hooks, list_plugins, load_plugins, registered_stores

STORE = """
import os
import subprocess
import daxemu
from daxemu.backing import Probe
from daxemu.backing.tmpfs import TmpfsStore

class Store(TmpfsStore):
    name = "{name}"

    @classmethod
    def probe(cls, where=""):
        return Probe({available}, "no tape in drive", "insert one")

    def create(self, label, size):
        return super().create("{name}-" + label, size)

@daxemu.hookimpl
def {hook}({arguments}):
    return [Store]
"""


def source(name="tape", *, available=True, hook="daxemu_register_backends", arguments=""):
    return STORE.format(name=name, available=available, hook=hook, arguments=arguments)


# What each hook hears of the life that is told below, and when: told after the operation, it sees what came of it.
LIFE = {
    "daxemu_region_added": ["8388608 made"],
    "daxemu_region_removed": ["8388608 closed"],
    "daxemu_device_added": ["dax0.0 0 made", "dax0.1 0 created"],
    "daxemu_device_bound": ["dax0.1 2097152 bound", "dax0.1 4194304 resized"],
    "daxemu_device_revived": ["dax0.1 2097152 bound", "dax0.1 4194304 resized", "dax0.1 4194304 revived"],
    "daxemu_device_resized": ["dax0.1 2097152 sized", "dax0.1 4194304 resized", "dax0.1 0 destroyed"],
    "daxemu_device_killed": ["dax0.1 4194304 resized", "dax0.1 4194304 killed", "dax0.1 0 destroyed"],
    "daxemu_device_unbound": ["dax0.1 4194304 resized", "dax0.1 0 destroyed"],
    "daxemu_device_removed": ["dax0.1 0 destroyed", "dax0.0 0 closed"],
}

HOOKS = [name for name in dir(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_specified_explained_and_tested(hook):
    assert getattr(hookspecs, hook).__doc__
    assert hook in vars(load_plugins().hook)
    elsewhere = {"daxemu_register_commands"}  # tests/cli/test_plugins.py
    assert hook in {*LIFE, *elsewhere} or any(name.startswith(f"test_{hook}_") for name in globals())


def test_daxemu_register_backends_brings_stores_that_devices_can_be_made_of(installed):
    installed(tape=source())

    with Engine() as engine, engine.add_region("4M", backend="tape").devices[0].open() as file:
        assert "tape-dax0.0" in os.readlink(f"/proc/self/fd/{file.fileno()}")


def test_daxemu_register_backends_of_all_plugins_are_called(installed):
    installed(tape=source("tape"), drum=source("drum"))

    assert {store.name for store in registered_stores()} >= {"tmpfs", "tape", "drum"}


def test_daxemu_register_backends_is_how_the_built_in_store_comes():
    [builtin] = [plugin for plugin in list_plugins() if plugin.name == "builtin"]

    assert builtin.backends.keys() == {"tmpfs", "file"}
    assert builtin.backends["tmpfs"].startswith("available: ")
    assert builtin.version == __version__


def test_plugins_are_listed_with_version_and_state(installed):
    installed(tape=source(available=False))

    [tape] = [plugin for plugin in list_plugins() if plugin.name == "tape"]
    assert (tape.version, tape.backends) == ("1.0", {"tape": "no tape in drive; insert one"})


@pytest.mark.parametrize("mistake", [{"hook": "daxemu_register_backend"}, {"arguments": "config"}])
def test_a_hook_that_is_not_as_specified_is_an_error_that_names_the_plugin(installed, mistake):
    installed(good=source(), broken=source("drum", **mistake))

    for _ in range(2):  # nor is it forgotten
        with pytest.raises(UsageError, match=r"^plugin (plugin_)?broken: .*daxemu_register_backend.*$"):
            load_plugins()


@pytest.mark.parametrize("text", ["raise ValueError('no drive')", "import no_such_module"])
def test_a_plugin_that_cannot_be_imported_is_named_before_anything_is_made(installed, text):
    installed(good=source(), broken=text)

    with pytest.raises(UsageError, match=r"^plugin broken could not be .* or set DAXEMU_DISABLED_PLUGINS=broken$"):
        Engine()


def test_a_broken_plugin_does_not_keep_anybody_from_the_built_in_store(installed):
    installed(broken=source(arguments="config"))

    assert find_store("tmpfs").name == "tmpfs"


def test_an_unknown_store_is_an_error_that_names_those_there_are(installed):
    installed(tape=source(available=False))

    with pytest.raises(UsageError, match=r"^unknown backend 'drum'; there are: .*tape, tmpfs"):
        find_store("drum")


def test_a_store_that_does_not_work_here_is_an_error_that_says_what_would_help(installed):
    installed(tape=source(available=False))

    with pytest.raises(UnavailableError, match=r"^backend 'tape' does not work here: no tape in drive; insert one$"):
        find_store("tape")


def test_a_plugin_can_be_disabled_by_name(installed, monkeypatch):
    monkeypatch.setenv("DAXEMU_DISABLED_PLUGINS", "drum, absent")
    installed(tape=source("tape"), drum=source("drum", hook="no_such_hook"))

    assert {store.name for store in registered_stores()} == {"tmpfs", "file", "tape"}
    assert [plugin.name for plugin in list_plugins()] == ["builtin", "tape"]


def test_calls_of_hooks_can_be_traced(installed, monkeypatch, capsys):
    monkeypatch.setenv("DAXEMU_TRACE_HOOKS", "1")
    installed(tape=source("tape"))

    registered_stores()

    trace = capsys.readouterr().err.splitlines()
    assert trace[0] == "daxemu: hook daxemu_register_backends()"
    assert trace[1].startswith("daxemu: hook daxemu_register_backends -> [")
    assert "TmpfsStore" in trace[1]


@pytest.mark.parametrize("plugin", [False, True])
def test_without_a_plugin_nothing_is_loaded_for_a_hook(installed, plugin):
    installed(**({"tape": source("tape")} if plugin else {}))

    assert (hooks() is not None) == plugin
    assert load_plugins.cache_info().currsize == plugin


def test_what_is_registered_by_hand_is_called_too(installed):
    installed()
    load_plugins()

    assert hooks() is load_plugins().hook


LISTENER = """
import daxemu

heard = []

@daxemu.hookimpl
def daxemu_uevent(engine, event):
    heard.append((event.action, event.sys_name, [device.name for device in engine.devices]))
    {trouble}
"""


@pytest.mark.parametrize("trouble", ["pass", "raise RuntimeError('of no use')"])
def test_daxemu_uevent_is_called_after_the_operation(installed, caplog, trouble):
    installed(ear=LISTENER.format(trouble=trouble))

    with Engine() as engine:
        engine.add_region("2M", provider="hmem", idle=False)
        heard = importlib.import_module("plugin_ear").heard
        expected = [("add", "hmem.0"), ("add", "dax0.0"), ("bind", "dax0.0"), ("bind", "hmem.0")]
        assert [(action, name) for action, name, _ in heard] == expected
        assert heard[0][2] == ["dax0.0"]  # the operation is over: the device is there
    assert heard[-1][:2] == ("remove", "hmem.0")
    assert bool(caplog.records) == (trouble != "pass")


EAR = """
import daxemu

heard = []
now = "made"

@daxemu.hookimpl
def {hook}({what}):
    heard.append(" ".join([*([{what}.name] if "{what}" == "device" else []), str({what}.size), now]))
"""


@pytest.mark.parametrize("hook", LIFE)
def test_the_life_of_a_device_is_told(installed, hook):
    installed(ear=EAR.format(hook=hook, what=hook.split("_")[1]))
    load_plugins()
    ear = importlib.import_module("plugin_ear")
    home = "/sys/devices/platform/hmem.0"

    with Engine() as engine:
        region = engine.add_region("8M", provider="hmem")
        ear.now = "created"
        engine.write_attribute(f"{home}/dax_region/create", "1")
        ear.now = "sized"
        engine.write_attribute(f"{home}/dax0.1/size", "2097152")
        ear.now = "bound"
        engine.write_attribute("/sys/bus/dax/drivers/device_dax/new_id", "dax0.1")
        [device] = region.devices
        for ear.now, change in (
            ("resized", partial(device.resize, "4M")),
            ("killed", device.kill),
            ("revived", device.revive),
            ("destroyed", device.destroy),
        ):
            change()
        ear.now = "closed"

    assert ear.heard == LIFE[hook]


def test_nothing_is_loaded_to_tell_plugins_where_there_is_none(installed):
    installed()

    with Engine() as engine:
        engine.add_region("2M")
        assert load_plugins.cache_info().currsize == 0


TROUBLEMAKER = """
import errno

import daxemu

seen = []

@daxemu.hookimpl
def daxemu_fault(point, path):
    seen.append((point, path))
    return errno.EIO if path.endswith("/dax1.0") else None
"""


def test_daxemu_fault_decides_what_fails(installed):
    installed(trouble=TROUBLEMAKER)

    with Engine() as engine:
        good, bad = (engine.add_region("2M").devices[0] for _ in range(2))
        good.open().close()
        with pytest.raises(KernelError) as refused:
            bad.open()
        assert refused.value.errno == errno.EIO
        assert good.run(["sh", "-c", "exec < /dev/dax0.0"]).returncode == 0
        assert good.run(["sh", "-c", "exec < /dev/dax1.0"], stderr=subprocess.DEVNULL).returncode != 0
        bad.kill()  # a revocation cannot fail
        engine.write_attribute("/sys/bus/dax/drivers_autoprobe", "1")
        seen = importlib.import_module("plugin_trouble").seen

    assert ("open", "/dev/dax0.0") in seen
    assert ("zap", "/dev/dax1.0") in seen
    assert ("store", "/sys/bus/dax/drivers_autoprobe") in seen


WITNESS = """
import daxemu

heard = []

@daxemu.hookimpl
def daxemu_client_attached(engine, pid):
    heard.append(("attached", pid, [device.size for device in engine.devices]))

@daxemu.hookimpl
def daxemu_client_detached(pid):
    heard.append(("detached", pid))

@daxemu.hookimpl
def daxemu_attribute_stored(path, text, error):
    heard.append((path.rpartition("/")[2], text, error))
"""

MAP = "import mmap, os; mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 2 << 20)"


@pytest.fixture
def heard(installed):
    installed(witness=WITNESS)
    load_plugins()
    return importlib.import_module("plugin_witness").heard


def test_daxemu_client_attached_and_detached_are_called_in_order(heard):
    with Engine() as engine:
        device = engine.add_region("2M").devices[0]
        program = device.popen([sys.executable, "-c", MAP])
        assert program.wait() == 0
        device.run(["true"], check=True)  # maps nothing
    assert heard == [("attached", program.pid, [2 << 20]), ("detached", program.pid)]


def test_daxemu_client_detached_is_called_for_a_process_that_is_killed(heard):
    with Engine() as engine:
        device = engine.add_region("2M").devices[0]
        line = f"{MAP}; print('mapped', flush=True); import time; time.sleep(60)"
        with device.popen([sys.executable, "-c", line], stdout=subprocess.PIPE) as program:
            program.stdout.readline()
            program.kill()
    assert heard[-1] == ("detached", program.pid)


def test_daxemu_attribute_stored_is_called_with_what_came_of_it(heard):
    with Engine() as engine:
        engine.add_region("4M", provider="hmem", idle=False)
        with pytest.raises(KernelError):
            engine.write_attribute("/sys/devices/platform/hmem.0/dax0.0/size", "2097152\n")
        engine.run(["sh", "-c", "echo dax0.0 > /sys/bus/dax/drivers/device_dax/unbind"], check=True)
    assert heard == [("size", "2097152\n", errno.EBUSY), ("unbind", "dax0.0\n", 0)]


POWER = """
import daxemu

heard = []

@daxemu.hookimpl
def daxemu_power_failed(device):
    with device.open("r") as file, file.mmap() as m:
        heard.append((device.name, m.read(0, 4)))
"""


def test_daxemu_power_failed_is_called_when_the_device_is_back(installed):
    installed(ear=POWER)

    with Engine() as engine:
        [device] = engine.add_region("2M").devices
        with device.open() as file, file.mmap() as m, device.record():
            m[0:4] = b"lost"
            device.power_fail()
            engine.reboot()
    assert importlib.import_module("plugin_ear").heard == [("dax0.0", bytes(4))] * 2
