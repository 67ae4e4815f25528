"""Odd spellings of what is written, with what real kernels (6.1 and 6.12 alike) answered."""

from __future__ import annotations

import pytest

from tests.sysfs.machine import Machine

TAKEN = {
    "dax0.0/size": ["0", "+0", "0x0", "00", "0X200000", "+0x200000", "0\n"],
    "create": ["1", "+1", "01", "0x1", "1\n"],
    "dax0.0/mapping": [
        "{0:x}-{1:x}",
        "0x{0:x}-0x{1:x}",
        "0X{0:X}-0X{1:X}",
        "+{0:x}-+{1:x}",
        "{0:x}-{1:x}\n",
        "{0:x}\n-{1:x}",
    ],
    "device_dax/new_id": ["dax0.0", "dax0.0\n", "dax-1.0", "dax0.-1", "dax99.99"],
    "drivers_autoprobe": ["0", "1", "x", "\n", "0x", "n"],
}
REFUSED = {
    "dax0.0/size": [
        "-0",
        "0x",
        "08",
        "010",
        "0x200000\n\n",
        "\n",
        " 0",
        "0 ",
        str(1 << 64),
        "2097152x",
        "0x+0",
        "++0",
        "+-0",
        "0b10",
        "1_0",
    ],
    "create": ["-1", "1\n\n", str((1 << 31) - 1), str(1 << 31), str(-(1 << 31)), "\n", " 1", "1 ", "+-1", "-+1", "--1"],
    "dax0.0/mapping": [
        "-",
        "1-",
        "-1",
        "{0:x} - {1:x}",
        "{0:x}-{1:x} ",
        "{0:x}-{1:x}-",
        "{0:x}-{1:x}-1",
        "0x-1",
        "0x1-0x",
    ],
    "device_dax/new_id": [
        "dax2147483648.0",
        "dax00.0",
        "dax0.0 ",
        "dax+1.0",
        "dax 1.0",
        "dax1.0x",
        "daxx",
        "dax1",
        "\n",
        "dax0.0\n\n",
        "dax0.00",
    ],
    "dax0.0/power/control": ["off", " on", "auto on"],
    "dax0.0/power/async": ["on", "enabled "],
}


def cases(table):
    return [(attribute, text) for attribute, texts in table.items() for text in texts]


@pytest.fixture(params=["6.1", "6.12"])
def machine(request) -> Machine:
    return Machine(request.param)


def spelled(machine: Machine, text: str) -> str:
    """The text with the addresses of the region's first block."""
    start = machine.region.start
    return text.format(start, start + machine.region.align - 1) if "{" in text else text


@pytest.mark.parametrize(("attribute", "text"), cases(TAKEN))
def test_is_taken(machine, attribute, text):
    assert machine.write(attribute, spelled(machine, text)) == "ok"


@pytest.mark.parametrize(("attribute", "text"), cases(REFUSED))
def test_is_refused(machine, attribute, text):
    before = machine.region.available_size()
    assert machine.write(attribute, spelled(machine, text)) in ("EINVAL", "ERANGE")
    assert machine.region.available_size() == before
