"""daxctl, as Debian ships it, changes devices: it says and answers what it does on hardware."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from tests.conftest import require

HMEM = ("--region", "provider=hmem,size=64M")
PMEM = ("--region", "provider=pmem,size=64M")
MARK = "@@"
MIB = 1 << 20


class Step(NamedTuple):
    status: int
    output: str
    said: str

    @property
    def device(self) -> dict:
        (device,) = json.loads(self.output)
        return device


@pytest.fixture
def daxctl(daxemu_run, public_dir):
    """Run commands, in a row, on one machine; a status, the output and the messages of each."""
    require("daxctl")

    def run(*commands: str, options: tuple[str, ...] = HMEM, cwd=public_dir) -> list[Step]:
        script = "D=/sys/bus/dax/devices; R=/sys/devices/platform/hmem.0/dax_region\n" + "\n".join(
            f"{command} 2> said; echo '{MARK}'$?; cat said; echo '{MARK}'" for command in commands
        )
        parts = daxemu_run("bash", "-c", script, options=options, cwd=cwd).stdout.split(MARK)[:-1]
        return [
            Step(int(answer.split("\n")[0]), output.strip(), answer.partition("\n")[2])
            for output, answer in zip(parts[::2], parts[1::2], strict=True)
        ]

    return run


def failed(step: Step, status: int, *messages: str) -> bool:
    return step.status == status and all(message in step.said for message in messages)


def succeeded(step: Step, message: str) -> bool:
    return step.status == 0 and message in step.said


FREE = "daxctl disable-device dax0.0 && daxctl reconfigure-device -s 8M dax0.0"


# -- disable, enable ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [HMEM, PMEM])
def test_disable_and_enable_succeed_also_where_it_is_so_already(daxctl, options):
    off, off_again, listed, on, on_again, relisted = daxctl(
        *["daxctl disable-device dax0.0"] * 2,
        "daxctl list",
        *["daxctl enable-device dax0.0"] * 2,
        "daxctl list",
        options=options,
    )

    assert succeeded(off, "disabled 1 device")
    assert succeeded(off_again, "disabled 1 device")
    assert listed.device["state"] == "disabled"
    assert succeeded(on, "enabled 1 device")
    assert succeeded(on_again, "enabled 1 device")
    assert "state" not in relisted.device


def test_an_unknown_device_is_neither_disabled_nor_enabled(daxctl):
    off, on, listed = daxctl("daxctl disable-device dax9.0", "daxctl enable-device dax9.0", "daxctl list")

    assert "disabled 0 devices" in off.said
    assert "enabled 0 devices" in on.said
    assert "state" not in listed.device


def test_an_empty_device_cannot_be_enabled(daxctl):
    *_, on = daxctl(FREE, "echo 0 > $D/dax0.0/size", "daxctl enable-device dax0.0")

    assert failed(on, 250, "dax0.0: enable failed: No such device or address", "enabled 0 devices")


# -- create -------------------------------------------------------------------------------------


def test_a_device_is_created_of_the_size_asked_for_and_of_all_that_is_left(daxctl):
    _, sized, rest, none, region = daxctl(
        FREE, "daxctl create-device -s 4M", "daxctl create-device", "daxctl create-device", "daxctl list -R"
    )

    assert succeeded(sized, "created 1 device")
    assert (sized.device["chardev"], sized.device["size"], sized.device["mode"]) == ("dax0.1", 4 * MIB, "devdax")
    assert succeeded(rest, "created 1 device")
    assert (rest.device["chardev"], rest.device["size"]) == ("dax0.2", 52 * MIB)
    assert failed(none, 228, "error creating devices: No space left on device", "created 0 devices")
    assert "available_size" not in region.device


@pytest.mark.parametrize("size", ["3M", "3G"])
def test_a_size_that_cannot_be_leaves_an_empty_device(daxctl, size):
    _, created, left = daxctl(FREE, f"daxctl create-device -s {size}", "daxctl list -i -d dax0.1")

    assert failed(created, 250, "dax0.1: failed to set size", "created 0 devices")
    assert (left.device["size"], left.device["state"]) == (0, "disabled")


def test_an_alignment_is_set_when_a_device_is_created(daxctl):
    _, created, shown = daxctl(FREE, "daxctl create-device -s 4M -a 4K", "cat $D/dax0.1/align")

    assert succeeded(created, "created 1 device")
    assert created.device["align"] == 4096
    assert shown.output == "4096"


def test_nothing_is_created_in_a_static_region(daxctl):
    (created,) = daxctl("daxctl create-device -s 4M", options=PMEM)

    assert failed(created, 228, "error creating devices: No space left on device", "created 0 devices")


def test_ranges_are_taken_from_a_file(daxctl):
    """What ``list -M`` shows of a device makes one of the same ranges; two of them here, apart."""
    _, made, listed, written, destroyed, created, again = daxctl(
        FREE,
        "daxctl create-device -s 2M && daxctl create-device -s 2M && daxctl disable-device dax0.1 "
        "&& echo dax0.1 > /sys/bus/dax/drivers/device_dax/remove_id && daxctl reconfigure-device -s 8M dax0.1",
        "daxctl list -M -d dax0.1",
        "daxctl list -M -d dax0.1 | python3 -c 'import json, sys; json.dump(json.load(sys.stdin)[0], sys.stdout)' > it",
        "daxctl destroy-device -f dax0.1",
        "daxctl create-device --input it",
        "daxctl list -M -d dax0.1",
    )

    assert (made.status, written.status, destroyed.status) == (0, 0, 0)
    assert len(listed.device["mappings"]) == 2
    assert succeeded(created, "created 1 device")
    assert again.device["mappings"] == listed.device["mappings"]


# -- destroy ------------------------------------------------------------------------------------


def test_an_active_device_is_destroyed_only_by_force(daxctl):
    _, created, refused, destroyed, listed, space = daxctl(
        FREE,
        "daxctl create-device -s 4M",
        "daxctl destroy-device dax0.1",
        "daxctl destroy-device -f dax0.1",
        "ls $D /dev",
        "cat $R/available_size",
    )

    assert created.status == 0
    assert failed(refused, 250, "dax0.1 is active, specify --force for deletion", "destroyed 0 devices")
    assert succeeded(destroyed, "destroyed 1 device")
    assert "dax0.1" not in listed.output
    assert space.output == str(56 * MIB)


def test_a_disabled_device_is_destroyed_without_force(daxctl):
    *_, destroyed, listed = daxctl(
        FREE,
        "daxctl create-device -s 4M",
        "daxctl disable-device dax0.1",
        "daxctl destroy-device dax0.1",
        "daxctl list -i",
    )

    assert succeeded(destroyed, "destroyed 1 device")
    assert listed.device["chardev"] == "dax0.0"


def test_the_first_device_stays_with_size_0(daxctl):
    refused, _, listed, node = daxctl(
        "daxctl destroy-device dax0.0", "daxctl destroy-device -f dax0.0", "daxctl list -i", "test -c /dev/dax0.0"
    )

    assert failed(refused, 250, "dax0.0 is active, specify --force for deletion", "destroyed 0 devices")
    assert (listed.device["chardev"], listed.device["size"], listed.device["state"]) == ("dax0.0", 0, "disabled")
    assert node.status == 0


def test_a_static_device_cannot_be_destroyed_but_is_disabled_by_the_attempt(daxctl):
    refused, forced, listed = daxctl(
        "daxctl destroy-device dax0.0", "daxctl destroy-device -f dax0.0", "daxctl list -i", options=PMEM
    )

    assert failed(refused, 250, "dax0.0 is active, specify --force for deletion")
    assert failed(forced, 250, "dax0.0: failed to set size", "destroyed 0 devices")
    assert (listed.device["size"], listed.device["state"]) == (64 * MIB, "disabled")


# -- reconfigure --------------------------------------------------------------------------------


def test_a_disabled_device_is_resized(daxctl):
    _, smaller, size, larger, size_again = daxctl(
        "daxctl disable-device dax0.0",
        "daxctl reconfigure-device -s 8M dax0.0",
        "cat $D/dax0.0/size",
        "daxctl reconfigure-device -s 32M dax0.0",
        "cat $D/dax0.0/size",
    )

    assert succeeded(smaller, "reconfigured 1 device")
    assert succeeded(larger, "reconfigured 1 device")
    assert (size.output, size_again.output) == (str(8 * MIB), str(32 * MIB))


@pytest.mark.parametrize("options", [HMEM, PMEM])
@pytest.mark.parametrize(("option", "what"), [("-s 8M", "size"), ("-a 4K", "align")])
def test_an_enabled_or_static_device_is_not_changed(daxctl, options, option, what):
    enabled, shown = daxctl(f"daxctl reconfigure-device {option} dax0.0", "daxctl list", options=options)

    assert failed(enabled, 250, f"dax0.0: failed to set {what}", "reconfigured 0 devices")
    assert (shown.device["size"], shown.device["align"]) == (64 * MIB, 2 * MIB)


def test_an_alignment_is_set_although_daxctl_then_misses_a_mode(daxctl):
    _, alone, enabled = daxctl(
        "daxctl disable-device dax0.0",
        "daxctl reconfigure-device -a 4K dax0.0",
        "daxctl reconfigure-device -m devdax dax0.0",
    )

    assert failed(alone, 234, "dax0.0: unknown mode requested: 0", "reconfigured 0 devices")
    assert succeeded(enabled, "reconfigured 1 device")
    assert enabled.device["align"] == 4096


@pytest.mark.parametrize("options", [HMEM, PMEM])
def test_devdax_mode_binds_and_is_no_error_where_it_is_so_already(daxctl, options):
    already, _, bound, listed = daxctl(
        "daxctl reconfigure-device -m devdax dax0.0",
        "daxctl disable-device dax0.0",
        "daxctl reconfigure-device -m devdax dax0.0",
        "daxctl list",
        options=options,
    )

    assert succeeded(already, "dax0.0 was already in devdax mode")
    assert succeeded(bound, "reconfigured 1 device")
    assert bound.device["mode"] == "devdax"
    assert "state" not in listed.device


def test_devdax_mode_takes_a_device_without_an_id(daxctl):
    """What soft-reserved memory is after boot without kmem: unbound, and taken by no driver."""
    *_, bound, driver = daxctl(
        "daxctl disable-device dax0.0",
        "echo dax0.0 > /sys/bus/dax/drivers/device_dax/remove_id",
        "daxctl reconfigure-device -m devdax dax0.0",
        "basename $(readlink $D/dax0.0/driver)",
    )

    assert succeeded(bound, "reconfigured 1 device")
    assert driver.output == "device_dax"


# -- the bytes ----------------------------------------------------------------------------------

POKE = """
import mmap, os, sys
size, values = int(sys.argv[1]) << 20, sys.argv[2:]
m = mmap.mmap(os.open("/dev/dax0.0", os.O_RDWR), size)
for at in range(0, size, 1 << 16):
    if values:
        m[at : at + 8] = at.to_bytes(8, "big")
    elif m[at : at + 8] != at.to_bytes(8, "big"):
        sys.exit(f"differs at {at}")
"""


@pytest.mark.parametrize(("first", "then"), [("16M", ""), ("4M", "64M")])
def test_bytes_that_lie_inside_are_kept_when_a_device_is_resized(daxctl, public_dir, first, then):
    (public_dir / "poke").write_text(POKE)
    inside = min(int(size[:-1]) for size in (first, then) if size)

    steps = daxctl(
        "python3 poke 64 write",
        "daxctl disable-device dax0.0",
        *[f"daxctl reconfigure-device -s {size} dax0.0" for size in (first, then) if size],
        "daxctl enable-device dax0.0",
        f"python3 poke {inside}",
    )

    assert [step.status for step in steps] == [0] * len(steps), steps[-1].said


def test_bytes_are_kept_when_the_alignment_changes(daxctl, public_dir):
    (public_dir / "poke").write_text(POKE)

    *steps, again = daxctl(
        "python3 poke 64 write",
        "daxctl disable-device dax0.0",
        "daxctl reconfigure-device -a 4K dax0.0",
        "daxctl enable-device dax0.0",
        "python3 poke 64",
    )

    assert [step.status for step in steps] == [0, 0, 234, 0]
    assert again.status == 0, again.said
