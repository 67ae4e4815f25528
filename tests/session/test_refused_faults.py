"""Touches that are SIGBUS though the device is alive: the driver refuses the fault."""

import pytest

from daxemu import DaxBusError, Engine
from tests.session.conftest import LENGTH, Client

BLOCK = 2 << 20
G = 1 << 30


def test_a_block_without_huge_page_is_lost_by_a_revocation(device, start):
    """What is in the page tables needs no fault; a revocation takes it out of them."""
    client, bystander = start(device.path), start(device.path)
    client("w 0 7")
    assert client("h") == "ok"
    assert (client("r 0"), client(f"r {BLOCK}")) == ("7", f"SIGBUS 2 {BLOCK}")

    device.kill()
    device.revive()

    assert client("r 0") == "SIGBUS 2 0"
    assert (bystander("r 0"), bystander(f"r {LENGTH - 1}")) == ("7", "0")
    assert client("m") == "ok"


@pytest.fixture
def scattered():
    """A device of 2 GiB in blocks of 1 GiB, of ranges of 512 and of 1536 MiB."""
    with Engine() as engine:
        region = engine.add_region("4G", provider="hmem")
        gap, wall = region.create_device("512M"), region.create_device("512M")
        gap.destroy()
        assert wall.size
        device = region.create_device("2M")
        device.unbind()
        sysfs = f"/sys/devices/platform/hmem.{region.id}/{device.name}"
        for name, value in (("size", "0"), ("align", str(G)), ("size", str(2 * G))):
            engine.write_attribute(f"{sysfs}/{name}", value)
        device.bind()
        yield engine, device


def test_a_block_that_lies_in_two_ranges_cannot_be_touched(scattered, compiled):
    engine, device = scattered
    client = Client(engine, [str(compiled("mapper")), device.path, str(2 * G)])
    try:
        assert client("r 5") == "SIGBUS 2 5"
        assert client(f"w {G - 1} 1") == f"SIGBUS 2 {G - 1}"
        assert client(f"w {G} 9") == "ok"
        with device.open() as file, file.mmap() as memory:
            assert memory[G] == 9
            with pytest.raises(DaxBusError):
                memory.read(G - 1, 1)
        device.kill()
        device.revive()
        assert (client("r 5"), client(f"r {G}")) == ("SIGBUS 2 5", "9")
    finally:
        client.close()


LOCKED = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
def rss():
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith("RssShmem"))
device = os.open(sys.argv[1], os.O_RDWR)
before = mmap.mmap(device, 16 << 20)
assert libc.mlockall(1) == 0 or os.geteuid()
assert libc.mlockall(2) == 0 or os.geteuid()
after = mmap.mmap(device, 16 << 20)
after[0] = 1
print(before[0], rss() < 8 << 10)
"""


def test_locking_all_memory_takes_none_of_the_machine_for_the_device(engine, device):
    done = engine.run(["python3", "-c", LOCKED, device.path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]
