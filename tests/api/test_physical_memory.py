"""Physical memory outlives devices: what a range held is what its next owner finds."""

import pytest

from daxemu import Engine

M = 1 << 20


def write(device, offset, data):
    with device.open() as file, file.mmap() as memory:
        memory[offset : offset + len(data)] = data


def read(device, offset, length):
    with device.open("r") as file, file.mmap() as memory:
        return memory[offset : offset + length]


@pytest.fixture(params=[False, True], ids=["no session", "session"])
def engine(request):
    with Engine() as machine:
        if request.param:
            machine.environ()
        yield machine


@pytest.fixture
def region(engine):
    return engine.add_region("32M", provider="hmem")


def test_what_a_shrink_cut_off_is_there_after_growing_again(region):
    device = region.create_device("8M")
    write(device, 0, b"head")
    write(device, 6 * M + 5, b"tail")

    device.resize("4M")
    assert region.available_size == 28 * M
    device.resize("8M")

    assert (read(device, 0, 4), read(device, 6 * M + 5, 4)) == (b"head", b"tail")


def test_the_next_owner_of_a_range_finds_what_it_held(region):
    keep, gone = region.create_device("4M"), region.create_device("8M")
    write(keep, 0, b"mine")
    write(gone, 3 * M, b"legacy")

    gone.destroy()
    heir = region.create_device("8M")

    assert read(heir, 3 * M, 6) == b"legacy"
    assert read(keep, 0, 4) == b"mine"


def test_a_device_of_several_ranges_is_one_contiguous_mapping(region):
    first, middle, last = (region.create_device("4M") for _ in range(3))
    for device, text in ((first, b"one"), (middle, b"two"), (last, b"three")):
        write(device, 1 * M, text)
    middle.destroy()

    last.resize("10M")  # 4 MiB of its own, the hole that middle left, and 2 MiB behind itself

    with last.open() as file, file.mmap() as memory:
        assert memory[1 * M : 1 * M + 5] == b"three"
        assert memory[5 * M : 5 * M + 3] == b"two"
        memory[4 * M - 2 : 4 * M + 2] = b"seam"
        assert memory[4 * M - 2 : 4 * M + 2] == b"seam"
    last.resize("4M")
    heir = region.create_device("4M")
    assert read(heir, 0, 2) == b"am"
    assert read(heir, 1 * M, 3) == b"two"
    assert read(first, 1 * M, 3) == b"one"


def test_a_scrubbed_region_forgets(engine):
    region = engine.add_region("16M", provider="hmem", scrub=True)
    device = region.create_device("8M")
    write(device, 6 * M, b"secret")

    device.resize("4M")
    device.resize("8M")

    assert read(device, 6 * M, 6) == bytes(6)


def test_daxctl_and_the_api_see_the_same_memory(region):
    device = region.create_device("8M")
    write(device, 6 * M, b"tail")
    script = (
        "cd /sys/bus/dax/devices/dax0.0 && echo dax0.0 > driver/unbind && echo 4194304 > size &&"
        "echo 8388608 > size && echo dax0.0 > /sys/bus/dax/drivers/device_dax/bind"
    )
    region.run(script, shell=True, check=True)

    assert read(device, 6 * M, 4) == b"tail"


def test_parked_memory_goes_with_its_region(engine):
    def memory_files():
        from pathlib import Path

        return sum("memfd:dax" in str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())

    before = memory_files()
    region = engine.add_region("8M", provider="hmem")
    device = region.create_device("4M")
    write(device, 0, b"x")
    device.destroy()
    region.remove()
    assert memory_files() == before
