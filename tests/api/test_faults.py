"""Faults to order."""

import errno
import sys
import threading
import time
from contextlib import closing

import pytest

from daxemu import DaxBusError, Engine, KernelError, UsageError
from tests.session.conftest import Client

SIZE = 4 << 20


@pytest.fixture
def engine():
    with Engine() as machine:
        yield machine


@pytest.fixture
def device(engine):
    return engine.add_region(4 * SIZE, provider="hmem").create_device(SIZE)


def attribute(device, name="align") -> str:
    return f"/sys/devices/platform/hmem.0/{device.name}/{name}"


def answers(action, count: int) -> list[str]:
    """What so many attempts come to: "" or the errno."""
    found = []
    for _ in range(count):
        try:
            action()
            found.append("")
        except KernelError as error:
            found.append(errno.errorcode[error.errno])
    return found


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ["ENOSPC"] * 4),
        ({"times": 1}, ["ENOSPC", "", "", ""]),
        ({"after": 2}, ["", "", "ENOSPC", "ENOSPC"]),
        ({"after": 1, "times": 2}, ["", "ENOSPC", "ENOSPC", ""]),
    ],
)
def test_which_writes_of_an_attribute_fail(engine, device, rule, expected):
    fault = engine.faults.add("store", "drivers_autoprobe", errno="ENOSPC", **rule)

    assert answers(lambda: engine.write_attribute("/sys/bus/dax/drivers_autoprobe", "1"), 4) == expected
    assert fault.hits == expected.count("ENOSPC")


@pytest.mark.parametrize(
    ("path", "met"),
    [
        ("*", True),
        ("align", True),
        ("al*", True),
        ("*/dax0.0/align", True),
        ("/sys/devices/platform/hmem.0/dax0.0/align", True),
        ("size", False),
        ("*/dax0.1/*", False),
        ("/align", False),
    ],
)
def test_paths(engine, device, path, met):
    device.unbind()
    engine.faults.add("store", path, errno=errno.EIO)

    assert answers(lambda: engine.write_attribute(attribute(device), "4096"), 1) == ["EIO" if met else ""]
    assert device.align == (2 << 20 if met else 4096)


def test_programs_meet_the_same_faults(engine, device):
    engine.faults.add("store", "align", errno="EIO")
    script = "import os, sys; os.write(os.open(sys.argv[1], os.O_WRONLY), b'4096')"

    result = device.run([sys.executable, "-c", script, attribute(device)], capture_output=True, text=True)

    assert "[Errno 5]" in result.stderr


def test_what_cannot_be_written_is_no_occasion(engine, device):
    fault = engine.faults.add("store", errno="EIO")

    assert answers(lambda: engine.write_attribute("/sys/bus/dax/nothing", "1"), 1) == ["EACCES"]
    assert fault.hits == 0


def test_opens_of_this_interpreter_and_of_programs_fail(engine, device, compiled):
    with closing(Client(engine, [str(compiled("mapper")), device.path, str(SIZE)])) as client:
        assert client("o") == "ok"
        with engine.faults.add("open", device.path, errno="EMFILE", after=1, times=2) as fault:
            assert client("o") == "ok"
            assert client("o") == "EMFILE"
            assert answers(device.open, 1) == ["EMFILE"]
            assert client("o") == "ok"
            assert fault.hits == 2
        with engine.faults.add("open", "dax7.*", errno="EMFILE"):
            assert client("o") == "ok"
        assert client("r 0") == "0"


def test_an_open_may_be_late_while_others_go_on(engine, device):
    other = engine.add_region(SIZE).devices[0]
    engine.faults.add("open", device.path, delay=0.5)
    started = time.monotonic()

    slow = device.popen(["sh", "-c", f": < {device.path}"])
    other.run(["sh", "-c", f": < {other.path}"], check=True)
    other.kill()

    assert slow.wait() == 0
    assert time.monotonic() - started >= 0.5


def test_a_late_revocation_leaves_old_mappings_for_a_while(engine, device):
    engine.faults.add("zap", device.path, delay=1.0)
    with device.open() as file, file.mmap() as memory:
        killer = threading.Thread(target=device.kill)
        killer.start()
        while device.alive:
            time.sleep(0.001)
        assert memory[0] == 0  # dead to newcomers, still there for those who map it
        killer.join()
        with pytest.raises(DaxBusError):
            memory[0]


def test_the_first_that_strikes_decides(engine, device):
    first = engine.faults.add("open", errno="EIO", times=1)
    second = engine.faults.add("open", errno="EBUSY")

    assert answers(device.open, 2) == ["EIO", "EBUSY"]
    assert (first.hits, second.hits) == (1, 1)
    assert list(engine.faults) == [first, second]
    engine.faults.clear()
    assert len(engine.faults) == 0
    second.remove()
    device.open().close()


@pytest.mark.parametrize(
    ("point", "what", "text"),
    [
        ("fly", {"errno": "EIO"}, "fault point 'fly'"),
        ("store", {}, "does nothing"),
        ("zap", {"errno": "EIO"}, "only be late"),
        ("open", {"errno": "EWHAT"}, "errno 'EWHAT'"),
        ("open", {"errno": "errorcode"}, "errno 'errorcode'"),
        ("open", {"errno": -5}, "errno -5"),
        ("open", {"errno": "EIO", "times": 0}, "at least once"),
        ("open", {"delay": -1}, "not negative"),
    ],
)
def test_what_makes_no_sense_is_refused(engine, point, what, text):
    with pytest.raises(UsageError, match=text):
        engine.faults.add(point, **what)
    assert len(engine.faults) == 0


@pytest.mark.parametrize("provider", ["pmem", "hmem"])
def test_a_read_only_device(engine, provider, compiled):
    region = engine.add_region(SIZE, provider=provider)
    device = region.devices[0] if region.devices else region.create_device()
    mapper = str(compiled("mapper"))
    with (
        closing(Client(engine, [mapper, device.path, str(SIZE)])) as writer,
        closing(Client(engine, [mapper, device.path, str(SIZE), "ro"])) as reader,
        device.open() as file,
    ):
        device.read_only = True

        assert answers(device.open, 1) == ["EROFS"]
        assert answers(lambda: file.mmap(writable=True), 1) == ["EACCES"]
        assert writer("o") == "EROFS"
        assert writer("w 0 3") == "ok"
        assert reader("p") == "EACCES"
        with device.open("r") as readable, readable.mmap() as memory:
            assert memory[0] == 3

        device.read_only = False

        assert writer("o") == "ok"
        with file.mmap(writable=True) as memory:
            memory[0] = 4
        assert reader("r 0") == "4"


def test_a_read_only_device_cannot_be_mapped_for_writing_by_a_file_from_before(engine, device):
    script = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print("ready", flush=True)
input()
mmap.mmap(fd, 2 << 20, mmap.MAP_SHARED, mmap.PROT_READ)
mmap.mmap(fd, 2 << 20)
"""
    program = device.popen([sys.executable, "-c", script, device.path], stdin=-1, stdout=-1, stderr=-1, text=True)
    program.stdout.readline()
    device.read_only = True

    assert "PermissionError" in program.communicate("\n")[1].splitlines()[-1]
