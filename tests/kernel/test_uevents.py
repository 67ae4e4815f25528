"""Uevents, as recorded from real kernels."""

from __future__ import annotations

import errno

import pytest

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.module import Module
from daxemu.kernel.region import DaxRegion
from daxemu.kernel.uevent import ACTIONS, Kobject, Uevent

from .fakes import BLOCK, FakePorts, InjectedFault, Injector, errno_of, fake_ports, injected

UUID = "11111111-2222-3333-4444-555555555555"
HMEM = "/devices/platform/hmem.0"


def told(ports: FakePorts) -> list[str]:
    """What was sent, as the kernel puts it on the wire, without the sequence number; then forget it."""
    sent = [
        f"{e.action}@{e.device_path}|" + "|".join(f"{k}={v}" for k, v in e.properties.items()) for e in ports.uevents
    ]
    ports.uevents.clear()
    return [line.partition("|SEQNUM=")[0] for line in sent]


def line(action: str, *variables: str, name: str = "dax0.1", minor: int = 1, synthetic: str = "") -> str:
    """An event about a dax device."""
    path = f"{HMEM}/{name}"
    head = f"{action}@{path}|ACTION={action}|DEVPATH={path}|SUBSYSTEM=dax{synthetic}"
    return "|".join([head, "MAJOR=252", f"MINOR={minor}", f"DEVNAME={name}", *variables])


def platform(action: str, *variables: str) -> str:
    return "|".join([f"{action}@{HMEM}|ACTION={action}|DEVPATH={HMEM}|SUBSYSTEM=platform", *variables])


def test_a_region_comes_with_its_device(core: DaxCore, ports: FakePorts, add_region):
    add_region(idle=False)
    assert told(ports) == [
        platform("add", "MODALIAS=platform:hmem"),
        line("add", "MODALIAS=dax:t0", name="dax0.0", minor=0),
        line("bind", "DRIVER=device_dax", "MODALIAS=dax:t0", name="dax0.0", minor=0),
        platform("bind", "DRIVER=hmem", "MODALIAS=platform:hmem"),
    ]


def test_a_region_goes_with_its_devices_the_youngest_first(core: DaxCore, region: DaxRegion, device: DevDax):
    told(fake_ports(core))
    core.remove_region(region)
    assert told(fake_ports(core)) == [
        line("unbind"),
        line("remove", "MODALIAS=dax:t0"),
        line("remove", "MODALIAS=dax:t0", name="dax0.0", minor=0),
        platform("unbind"),
        platform("remove", "MODALIAS=platform:hmem"),
    ]


def test_the_nvdimm_device_of_a_static_region_is_bound_last_and_unbound_last(core: DaxCore, ports, add_region):
    region = add_region("pmem", idle=False)
    assert [(e.action, e.subsystem) for e in ports.uevents] == [
        ("add", "nd"), ("add", "dax"), ("bind", "dax"), ("bind", "nd")
    ]  # fmt: skip
    assert list(ports.uevents[-1].properties.items())[3:6] == [
        ("DEVTYPE", "nd_dax"), ("DRIVER", "dax_pmem"), ("MODALIAS", "nd:t7")
    ]  # fmt: skip
    ports.uevents.clear()
    core.remove_region(region)
    assert [(e.action, e.subsystem) for e in ports.uevents] == [
        ("unbind", "dax"), ("remove", "dax"), ("unbind", "nd"), ("remove", "nd")
    ]  # fmt: skip


def test_bind_and_unbind(core: DaxCore, device: DevDax, ports: FakePorts):
    told(ports)
    core.bus.unbind(device)
    core.bus.bind(device)
    assert told(ports) == [line("unbind"), line("bind", "DRIVER=device_dax", "MODALIAS=dax:t0")]


def test_create_and_delete(core: DaxCore, region: DaxRegion, ports: FakePorts):
    told(ports)
    core.delete_device(core.create_seed(region))
    assert told(ports) == [line("add", "MODALIAS=dax:t0"), line("remove", "MODALIAS=dax:t0")]


def test_what_only_changes_a_device_is_no_uevent(core: DaxCore, device: DevDax, ports: FakePorts):
    core.bus.unbind(device)
    told(ports)
    device.resize(BLOCK)
    device.set_align(4096)
    assert errno_of(core.bus.bind, device, "nobody") == errno.ENODEV
    assert told(ports) == []


def test_what_was_told_of_a_device_that_could_not_be_made_is_taken_back(core: DaxCore, region: DaxRegion, ports):
    told(ports)
    with injected(Injector(0, only="DaxBus.bind")), pytest.raises(InjectedFault):
        core.create_device(region, BLOCK)
    assert told(ports) == [line("add", "MODALIAS=dax:t0"), line("remove", "MODALIAS=dax:t0")]


def test_events_are_numbered(core: DaxCore, device: DevDax, ports: FakePorts):
    numbers = [event.sequence_number for event in ports.uevents]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [event.properties["SEQNUM"] for event in ports.uevents] == [str(number) for number in numbers]


# -- synthetic ones -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("newline", ["", "\n"])
def test_every_action_can_be_asked_for(core: DaxCore, device: DevDax, ports: FakePorts, action: str, newline: str):
    told(ports)
    core.synthesize_uevent(device, action + newline)
    modalias = [] if action == "unbind" else ["MODALIAS=dax:t0"]
    assert told(ports) == [line(action, "DRIVER=device_dax", *modalias, synthetic="|SYNTH_UUID=0")]


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (UUID, ""),
        (f"{UUID}\n", ""),
        (UUID.replace("1", "a").replace("2", "B"), ""),
        (f"{UUID} A=1 B=2", "|SYNTH_ARG_A=1|SYNTH_ARG_B=2"),
        (f"{UUID} A=1\n", "|SYNTH_ARG_A=1"),
    ],
)
def test_with_a_uuid_and_arguments(core: DaxCore, device: DevDax, ports: FakePorts, arguments: str, variables: str):
    told(ports)
    core.synthesize_uevent(device, f"change {arguments}")
    synthetic = f"|SYNTH_UUID={arguments[:36]}{variables}"
    assert told(ports) == [line("change", "DRIVER=device_dax", "MODALIAS=dax:t0", synthetic=synthetic)]


@pytest.mark.parametrize("text", ["bogus", "", "\n", "addx", "ADD", " add", "add\n\n"])
def test_what_is_no_action_is_refused_and_logged(core: DaxCore, device: DevDax, ports: FakePorts, text: str):
    told(ports)
    assert errno_of(core.synthesize_uevent, device, text) == errno.EINVAL
    assert told(ports) == []
    assert ports.kmsg == [
        (4, f"synth uevent: {HMEM}/dax0.1: unknown uevent action string"),
        (3, "device_dax dax0.1: uevent: failed to send synthetic uevent: -22"),
    ]


@pytest.mark.parametrize(
    "arguments",
    ["", " ", "0 A=1", UUID[:-1], f"{UUID}x", "A=1", f"{UUID} A", f"{UUID} A_b=1", f"{UUID} A=", f"{UUID} =1",
     f"{UUID} A=1 ", f"{UUID} ", f"{UUID} A=b-c", f"{UUID} A=1  B=2"],
)  # fmt: skip
def test_arguments_that_are_none_are_refused_and_logged(core, device: DevDax, ports: FakePorts, arguments: str):
    told(ports)
    assert errno_of(core.synthesize_uevent, device, f"add {arguments}") == errno.EINVAL
    assert told(ports) == []
    assert ports.kmsg[0] == (4, f"synth uevent: {HMEM}/dax0.1: incorrect uevent action arguments")


def test_a_device_without_a_driver_is_logged_by_its_bus(core: DaxCore, region: DaxRegion, ports: FakePorts):
    assert errno_of(core.synthesize_uevent, region.children["dax0.0"], "bogus") == errno.EINVAL
    assert ports.kmsg[1] == (3, "dax dax0.0: uevent: failed to send synthetic uevent: -22")


@pytest.mark.parametrize(
    ("which", "path", "subsystem"),
    [("bus", "/bus/dax", "bus"), ("driver", "/bus/dax/drivers/kmem", "drivers"), ("module", "/module/kmem", "module")],
)
def test_the_bus_its_drivers_and_modules_are_told_of_too(core: DaxCore, ports, which, path, subsystem):
    subject = {"bus": core.bus, "driver": core.bus.drivers["kmem"], "module": Module(core, "kmem")}[which]
    core.synthesize_uevent(subject, "change")
    assert told(ports) == [f"change@{path}|ACTION=change|DEVPATH={path}|SUBSYSTEM={subsystem}|SYNTH_UUID=0"]
    assert errno_of(core.synthesize_uevent, subject, "bogus") == errno.EINVAL
    assert ports.kmsg == [(4, f"synth uevent: {path}: unknown uevent action string")]


def test_the_parent_of_a_region(core: DaxCore, region: DaxRegion, ports: FakePorts):
    told(ports)
    core.synthesize_uevent(region, "change")
    assert told(ports) == [
        f"change@{HMEM}|ACTION=change|DEVPATH={HMEM}|SUBSYSTEM=platform|SYNTH_UUID=0|DRIVER=hmem|MODALIAS=platform:hmem"
    ]
    assert errno_of(core.synthesize_uevent, region, "bogus") == errno.EINVAL
    assert ports.kmsg[1] == (3, "hmem hmem.0: uevent: failed to send synthetic uevent: -22")


def test_a_mapping_is_on_no_bus_and_nobody_is_told_of_it(core: DaxCore, device: DevDax, ports: FakePorts):
    told(ports)
    [mapping] = device.mappings()
    core.synthesize_uevent(mapping, "add")
    assert told(ports) == []
    assert errno_of(core.synthesize_uevent, mapping, "bogus") == errno.EINVAL
    assert ports.kmsg == [
        (4, f"synth uevent: {HMEM}/dax0.1/mapping0: unknown uevent action string"),
        (3, " mapping0: uevent: failed to send synthetic uevent: -22"),
    ]


# -- the event itself ---------------------------------------------------------------------------


def test_an_event_has_the_names_of_pyudev(device: DevDax, ports: FakePorts):
    event = ports.uevents[-1]
    assert (event.action, event.sys_name) == ("bind", "dax0.1")
    assert (event.device_node, event.driver) == ("/dev/dax0.1", "device_dax")


def test_an_event_about_something_without_node_or_driver():
    event = Uevent.about("add", Kobject("/bus/dax", "bus", {}), 7, {})
    assert (event.sys_name, event.device_node, event.driver, event.sequence_number) == ("dax", None, None, 7)
