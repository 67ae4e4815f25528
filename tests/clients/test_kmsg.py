"""What the kernel logs about unmodified programs."""

from __future__ import annotations

import re
import sys

import pytest

import daxemu

REFUSED = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
before = set(os.listdir("/proc/self/fd"))
try:
    mmap.mmap(fd, **eval(sys.argv[2]))
except OSError as error:
    print(error.errno, set(os.listdir("/proc/self/fd")) == before)
"""


@pytest.fixture
def device():
    with daxemu.Engine() as engine:
        yield engine.add_region("8M").devices[0]


def refused(device: daxemu.DaxDevice, **arguments: int) -> list[str]:
    """The log after a program was refused a mapping."""
    command = [sys.executable, "-c", REFUSED, device, repr(arguments)]
    result = device.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "22 True\n"
    return [record.text for record in device.engine.kmsg]


def test_a_private_mapping(device):
    [line] = refused(device, length=2 << 20, flags=2)
    assert re.fullmatch(r"device_dax dax0\.0: python\S*: dax_mmap: fail, attempted private mapping", line)


@pytest.mark.parametrize(
    ("length", "offset", "at", "size"),
    [(4096, 0, 0, 4096), ((2 << 20) + 1, 0, 0, (2 << 20) + 4096), (4 << 20, 4096, 4096, 4 << 20)],
)
def test_a_misaligned_mapping_and_where_it_would_have_been(device, length, offset, at, size):
    [line] = refused(device, length=length, offset=offset)
    match = re.fullmatch(r".*: dax_mmap: fail, unaligned vma \((0x\w+) - (0x\w+), 0x1fffff\)", line)
    assert match
    start, end = (int(text, 16) for text in match.groups())
    assert end - start == size
    assert start % 4096 == 0
    if size > 4096:
        assert start % (2 << 20) == at


def test_what_the_kernel_refuses_before_it_asks_the_driver_is_not_logged(device):
    program = """
import ctypes, os, sys
mmap = ctypes.CDLL(None, use_errno=True).mmap
mmap.restype, mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
fd = os.open(sys.argv[1], os.O_RDWR)
for length, flags, offset in (0, 1, 0), (2 << 20, 1, 2048), (2 << 20, 0x1000003, 0):
    mmap(None, length, 3, flags, fd, offset)
    print(ctypes.get_errno())
"""
    result = device.run([sys.executable, "-c", program, device], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["22", "22", "95"]
    assert list(device.engine.kmsg) == []


def test_a_mapping_of_the_test_itself(device):
    with device.open() as file, pytest.raises(daxemu.KernelError):
        file.mmap(4096)
    [record] = device.engine.kmsg
    assert record.level == 6
    assert re.fullmatch(
        r"device_dax dax0\.0: \S+: dax_mmap: fail, unaligned vma \(0x\w+ - 0x\w+, 0x1fffff\)", record.text
    )
