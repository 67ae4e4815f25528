"""Engine, DaxRegion, DaxDevice: what the documentation promises of them."""

import errno
import os
import subprocess
import sys
import threading

import pytest

import daxemu
from daxemu import Engine, KernelError, UsageError


@pytest.fixture
def engine():
    with Engine() as machine:
        yield machine


@pytest.fixture
def region(engine):
    return engine.add_region("64M", provider="hmem")


def test_every_public_name_is_there_and_listed():
    assert sorted(daxemu.__all__) == daxemu.__all__
    for name in daxemu.__all__:
        assert getattr(daxemu, name) is not None
    assert set(daxemu.__all__) <= set(dir(daxemu))
    with pytest.raises(AttributeError, match="nonsense"):
        daxemu.nonsense  # noqa: B018


def test_a_pmem_region_comes_with_its_one_device(engine):
    region = engine.add_region("32M")
    (device,) = region.devices

    assert (region.provider, region.size, region.align, region.available_size) == ("pmem", 32 << 20, 2 << 20, 0)
    assert (device.name, device.path, device.size, device.align) == ("dax0.0", "/dev/dax0.0", 32 << 20, 2 << 20)
    assert device.alive
    assert os.fspath(device) == device.path
    assert "dax0.0" in repr(device)
    assert "pmem" in repr(region)


def test_devices_of_a_dynamic_region_are_made_in_order_and_reuse_freed_ids(region):
    assert (region.devices, region.available_size) == ([], 64 << 20)
    names = [region.create_device("16M").name for _ in range(3)]
    assert names == ["dax0.0", "dax0.1", "dax0.2"]

    region.devices[1].destroy()

    assert [device.name for device in region.devices] == ["dax0.0", "dax0.2"]
    assert region.create_device().name == "dax0.1"
    assert region.available_size == 0


def test_the_same_device_is_the_same_object(region):
    device = region.create_device("4M")
    assert region.devices[0] is device


def test_the_first_device_of_a_region_survives_its_destruction_empty(region):
    first = region.create_device("4M")
    first.destroy()
    assert (region.devices, first.size, first.alive) == ([], 0, False)
    assert region.create_device("8M") is first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "3"}, "not a multiple of the alignment 2M"),
        ({"size": 0}, "not a multiple"),
        ({"size": "-1"}, "not a number"),
        ({"size": -2}, "negative"),
        ({"size": "lots"}, "write for example '64M'"),
        ({"size": None}, "bytes as an int"),
        ({"size": "2M", "align": "8K"}, "aligned to 4K, 2M, 1G"),
        ({"size": "2M", "align": "1G"}, "not a multiple of the alignment 1G"),
        ({"size": "2M", "provider": "nvme"}, "unknown provider 'nvme'; there are: pmem, hmem"),
        ({"size": "2M", "backend": "disk"}, "unknown backend 'disk'; there are: file, tmpfs"),
    ],
)
def test_a_region_that_makes_no_sense_is_refused_with_the_remedy(engine, arguments, message):
    with pytest.raises(UsageError, match=message):
        engine.add_region(**arguments)
    assert (engine.regions, engine.devices) == ([], [])
    assert engine.add_region("2M").devices[0].name == "dax0.0"


@pytest.mark.parametrize("start", ["0x13fe00000", "0x140000000", "0x14fe00000"])
def test_no_two_regions_have_the_same_addresses(engine, start):
    engine.add_region("256M", start="0x140000000", provider="hmem")
    with pytest.raises(UsageError, match="a region has 0x140000000 to 0x150000000; give another start"):
        engine.add_region("4M", start=start, provider="hmem")
    assert len(engine.regions) == 1
    assert engine.add_region("4M", start="0x150000000", provider="hmem").id == 1


def test_a_region_without_memory_for_it_leaves_nothing(engine):
    with pytest.raises(KernelError) as caught:
        engine.add_region("900T")
    assert caught.value.errno == errno.ENOMEM
    assert engine.regions == []
    assert engine.add_region("2M").id == 0


@pytest.mark.parametrize(
    ("size", "code"), [("3M", errno.EINVAL), ("66M", errno.ENOSPC), (0, errno.EINVAL), (4096, errno.EINVAL)]
)
def test_a_device_that_does_not_fit_is_refused_as_the_kernel_does(region, size, code):
    with pytest.raises(KernelError) as caught:
        region.create_device(size)
    assert caught.value.errno == code
    assert region.available_size == 64 << 20


def test_a_static_region_says_where_devices_can_be_created(engine):
    region = engine.add_region("2M")
    with pytest.raises(KernelError, match="use provider 'hmem'") as caught:
        region.create_device("2M")
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(KernelError, match="provider 'hmem'") as caught:
        region.devices[0].resize("4M")
    assert caught.value.errno == errno.EACCES
    with pytest.raises(KernelError, match="static"):
        region.devices[0].destroy()


@pytest.mark.parametrize(("size", "code"), [("3M", errno.EINVAL), ("65M", errno.EINVAL), ("66M", errno.ENOSPC)])
def test_a_resize_that_fails_changes_nothing(region, size, code):
    device = region.create_device("32M")
    with device.open() as file, file.mmap() as memory:
        memory[0:4] = b"data"
        with pytest.raises(KernelError) as caught:
            device.resize(size)
        assert caught.value.errno == code
        assert (device.size, device.alive, memory[0:4]) == (32 << 20, True, b"data")


def test_device_numbers_run_out_with_a_clear_error():
    with Engine(nr_dax=1) as engine:
        region = engine.add_region("1G", provider="hmem")
        devices = [region.create_device("2M") for _ in range(256)]
        assert {device.devt[1] for device in devices} == set(range(256))
        with pytest.raises(KernelError, match="all 256 dax device numbers are in use") as caught:
            region.create_device("2M")
        assert caught.value.errno == errno.ENOSPC
        devices[100].destroy()
        assert region.create_device("2M").devt[1] == 100


def test_a_removed_region_takes_its_devices_with_it(engine):
    first, second = engine.add_region("2M"), engine.add_region("2M")
    device = first.devices[0]
    first.remove()
    assert [region.id for region in engine.regions] == [second.id]
    assert not device.alive
    assert engine.add_region("2M").id == 0


def test_regions_lie_apart_above_all_memory(engine):
    for _ in range(3):
        engine.add_region("2G", provider="hmem")
    script = "cat /sys/bus/dax/devices/*/resource"
    for region in engine.regions:
        region.create_device()
    starts = [int(line, 16) for line in engine.run(script, shell=True, capture_output=True).stdout.split()]
    assert len({start // (2 << 30) for start in starts}) == 3
    assert min(starts) >= 1 << 44


def test_a_closed_engine_refuses_everything_politely(engine):
    region = engine.add_region("2M", provider="hmem")
    device = region.create_device()
    engine.close()
    for attempt in (
        lambda: engine.add_region("2M"),
        lambda: region.create_device(),
        lambda: device.open(),
        lambda: device.kill(),
        lambda: engine.run(["true"]),
    ):
        with pytest.raises(UsageError, match="closed"):
            attempt()
    engine.close()


def test_run_and_popen_take_the_arguments_of_subprocess(engine):
    device = engine.add_region("2M").devices[0]
    for launcher in (engine, device.region, device):
        result = launcher.run(
            ["sh", "-c", "cat; echo $X; pwd; test -c /dev/dax0.0"],
            input="in\n",
            text=True,
            capture_output=True,
            env={"X": "value", "PATH": os.environ["PATH"]},
            cwd="/",
            check=True,
        )
        assert result.stdout == "in\nvalue\n/\n"
    with pytest.raises(subprocess.CalledProcessError):
        device.run("exit 3", shell=True, check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        device.run(["sleep", "60"], timeout=0.1)
    with pytest.raises(FileNotFoundError, match="no such program"):
        device.run(["no-such-program"])
    with device.popen(["cat", "/sys/bus/dax/devices/dax0.0/size"], stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"2097152\n"


def test_programs_see_changes_made_while_they_run(engine):
    region = engine.add_region("64M", provider="hmem")
    code = (
        "import sys, os\n"
        "for line in sys.stdin:\n"
        "    bus = '/sys/bus/dax/devices/'\n"
        "    print({n: int(open(bus + n + '/size').read()) for n in sorted(os.listdir(bus))},"
        " sorted(n for n in os.listdir('/dev') if n.startswith('dax')), flush=True)\n"
    )
    with engine.popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, bufsize=1) as process:

        def look():
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert look() == "{'dax0.0': 0} ['dax0.0']"
        first, second = region.create_device("16M"), region.create_device("8M")
        assert look() == "{'dax0.0': 16777216, 'dax0.1': 8388608} ['dax0.0', 'dax0.1']"
        first.resize("2M")
        second.destroy()
        assert look() == "{'dax0.0': 2097152} ['dax0.0']"
        process.stdin.close()


def test_threads_may_use_one_engine_together(engine):
    region = engine.add_region("1G", provider="hmem")
    region.create_device("2M")
    engine.environ()
    failures = []

    def work():
        try:
            for _ in range(10):
                device = region.create_device("2M")
                with device.open() as file, file.mmap() as memory:
                    memory[:3] = b"abc"
                    device.kill()
                    device.revive()
                    assert memory[:3] == b"abc"
                device.destroy()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(region.devices) == 1


@pytest.mark.parametrize("node", [-2, 1024, "far", ""])
def test_a_numa_node_that_is_none(engine, node):
    for name in ("target_node", "numa_node"):
        with pytest.raises(UsageError, match=f"^{name} .*number of a NUMA node"):
            engine.add_region("2M", **{name: node})


def test_a_cxl_region_is_not_for_every_kernel():
    with Engine(kernel="6.1") as engine, pytest.raises(UsageError, match=r"use kernel 6\.12"):
        engine.add_region("2M", provider="cxl")
