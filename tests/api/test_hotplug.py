"""Surprise removal and return, as programs and this interpreter see them."""

import errno
from contextlib import closing

import pytest

from daxemu import DaxBusError, Engine, KernelError
from tests.session.conftest import Client

SIZE = 4 << 20


@pytest.fixture
def engine():
    with Engine() as machine:
        yield machine


@pytest.fixture(params=["pmem", "hmem", "scrubbed"])
def device(request, engine):
    if request.param == "pmem":
        return engine.add_region(SIZE).devices[0]
    return engine.add_region(4 * SIZE, provider="hmem", scrub=request.param == "scrubbed").create_device(SIZE)


def listed(device) -> bool:
    script = f"test -e {device.path} || test -e /sys/bus/dax/devices/{device.name}"
    return device.run(["sh", "-c", script]).returncode == 0


def test_it_vanishes_and_returns_with_its_bytes(engine, device):
    with device.open() as file, file.mmap() as memory:
        memory[:5] = b"hello"
        device.unplug()

        assert engine.devices == []
        assert device.unplugged
        with pytest.raises(DaxBusError):
            memory[0]
        with pytest.raises(KernelError) as refused:
            file.mmap(SIZE)
        assert refused.value.errno == errno.ENXIO
        assert not listed(device)

        device.replug()

        with pytest.raises(DaxBusError):
            memory[0]
    assert [found.name for found in engine.devices] == [device.name]
    assert (device.size, device.alive, device.unplugged) == (SIZE, True, False)
    assert listed(device)
    with device.open() as file, file.mmap() as memory:
        assert memory[:5] == b"hello"


def test_a_program_that_maps_it_loses_it_and_another_finds_the_bytes(engine, device, compiled):
    command = [str(compiled("mapper")), device.path, str(SIZE)]
    with closing(Client(engine, command)) as client:
        assert client("w 0 7") == "ok"
        device.unplug()
        assert client("r 0") == "SIGBUS 2 0"
        assert client("m") == "ENXIO"
        assert client("o") == "ENOENT"
        device.replug()
        assert client("r 0") == "SIGBUS 2 0"
        assert client("m") == "ENXIO"
        assert client("o") == "ok"
        with closing(Client(engine, command)) as other:
            assert other("r 0") == "7"


def test_a_region_returns_as_at_boot(engine):
    region = engine.add_region(4 * SIZE, provider="hmem")
    region.create_device(SIZE)

    region.unplug()
    assert (engine.regions, region.unplugged) == ([], True)
    region.replug()

    assert engine.regions == [region]
    assert (region.devices, region.available_size) == ([], 4 * SIZE)


def test_a_region_may_come_and_go_often(engine):
    engine.add_region(SIZE)
    device = engine.add_region(SIZE).devices[0]
    with device.open() as file, file.mmap() as memory:
        memory[:3] = b"abc"
    for _ in range(3):
        device.region.unplug()
        device.region.replug()
    with device.open() as file, file.mmap() as memory:
        assert memory[:3] == b"abc"
    assert [found.name for found in engine.devices] == ["dax0.0", "dax1.0"]


@pytest.mark.parametrize("thing", ["device", "region"])
def test_twice_is_refused(device, thing):
    hardware = device if thing == "device" else device.region
    with pytest.raises(KernelError) as refused:
        hardware.replug()
    assert refused.value.errno == errno.EBUSY
    hardware.unplug()
    with pytest.raises(KernelError) as refused:
        hardware.unplug()
    assert refused.value.errno == errno.ENODEV


def test_the_engine_ends_with_something_unplugged(device):
    device.unplug()
    device.engine.close()


def test_unbind_and_bind(device):
    device.unbind()
    with pytest.raises(KernelError) as refused:
        device.open()
    assert refused.value.errno == errno.ENXIO
    device.bind()
    device.open().close()
