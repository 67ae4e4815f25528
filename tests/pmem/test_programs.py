"""Unmodified programs on PMDK's libraries, recorded."""

import os
import platform
import signal
import struct
import subprocess
import sys
from collections import Counter

import pytest

from daxemu import Engine, UsageError
from daxemu.pmem import collector
from daxemu.pmem import format as fmt
from daxemu.pmem.format import EVENT, EVENT_FENCE, EVENT_PERSIST, EVENT_STORE, LOG_HEADER
from daxemu.pmem.reader import Recording
from tests.cli.conftest import until
from tests.conftest import require_library
from tests.pmem.logs import described, events, told


@pytest.fixture
def device():
    with Engine() as engine:
        yield engine.add_region("16M").devices[0]


def record(device, directory, *command):
    with device.record(directory) as recorder:
        recorder.status = device.run([*map(str, command)], capture_output=True, text=True).returncode
    return told(directory)


def test_a_program_on_two_devices_is_recorded_on_both(compiled, tmp_path):
    require_library("libpmem.h", "libpmem-dev")
    with Engine() as engine:
        recorders = [engine.add_region("4M").devices[0].record(tmp_path / name, scan="none") for name in "abc"]
        engine.run([compiled("two_devices", "-lpmem"), "/dev/dax1.0", "/dev/dax2.0"], check=True)
        for recorder in recorders:
            recorder.close()
    assert told(tmp_path / "b") == [("store", 0, 64), ("flush", 0, 1), "fence"]
    assert told(tmp_path / "c") == [("store", 0, 64), ("persist", 0, 1), ("store", 64, 64), ("persist", 64, 1)]
    assert told(tmp_path / "a") == []


@pytest.mark.parametrize("policy", ["none", 1])
def test_what_a_program_was_told_to_be_durable_is_there_whenever_power_fails(device, compiled, policy):
    require_library("libpmem.h", "libpmem-dev")
    program, told = str(compiled("acknowledged", "-lpmem", "-lpthread")), {0: 0, 1: 0}
    with device.record():
        for amount in (1, 100, 10_000):
            with device.popen([program, device.path], stdout=subprocess.PIPE) as process:
                begin = process.stdout.read(16 * amount)
                device.power_fail(policy)
                for thread, number in struct.iter_unpack("<QQ", begin + process.stdout.read()):
                    told[thread] = number
            assert process.returncode == -signal.SIGBUS
            with device.open("r") as file, file.mmap() as m:
                there = {thread: int.from_bytes(m.read(64 * thread, 8), "little") for thread in told}
            for thread, number in told.items():
                assert number <= there[thread] <= number + 1
            told = there


@pytest.mark.parametrize("later", [[], ["later"]])
def test_a_program_that_runs_already_takes_part_in_each_recording(device, compiled, later):
    require_library("libpmem.h", "libpmem-dev")
    program = [str(compiled("acknowledged", "-lpmem", "-lpthread")), device.path, *later]
    with device.popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        begin = b"" if later else process.stdout.read(16)
        for _ in range(3):
            device.record().close()
        with device.record() as recorder:
            assert recorder.late == []
            process.stdin.write(b"l")
            process.stdin.flush()
            begin += process.stdout.read(16 * 20_000)
            device.power_fail()
            rest = process.stdout.read()
    told = dict(struct.iter_unpack("<QQ", begin + rest))
    with device.open("r") as file, file.mmap() as m:
        for thread, number in told.items():
            assert number <= int.from_bytes(m.read(64 * thread, 8), "little") <= number + 1


STEPS = {
    "persist": [("store", 0, 64), ("persist", 0, 1)],
    "deep": [("store", 0, 64), ("persist", 0, 1)],
    "flush": [("store", 0, 64), ("flush", 0, 1)],
    "copy": [("store", 0, 64), ("store", 64, 64), ("persist", 32, 40)],
    "copy-nodrain": [("store", 0, 64), ("flush", 0, 6)],
    "set": [("store", 0, 64), ("persist", 0, 8)],
    "set-noflush": [("store", 0, 64)],
    "store": [("store", 0, 64)],
    "drain": ["fence"],
    "again": [("persist", 0, 64)],
}


@pytest.mark.parametrize("step", STEPS)
def test_each_way_to_make_stores_durable(device, durable, tmp_path, step):
    """What is only stored is found at the end."""
    assert record(device, tmp_path / "rec", durable, "/dev/dax0.0", step) == STEPS[step]


def test_mappings_are_recorded_however_many_there_are(device, durable, tmp_path):
    backwards = [event for i in reversed(range(40)) for event in (("store", 64 * i, 64), ("persist", 64 * i, 1))]
    flushed = [("flush", 64 * i, 1) for i in range(40)]
    assert record(device, tmp_path / "rec", durable, "/dev/dax0.0", "scatter") == [*backwards, *flushed, "fence"]


def test_a_fence_counts_for_what_was_unmapped_meanwhile(device, durable, tmp_path):
    shown = record(device, tmp_path / "rec", durable, "/dev/dax0.0", "flush", "unmap", "drain", "drain")
    assert shown == [*STEPS["flush"], "fence"]


@pytest.mark.parametrize("fork", ["fork", "silent-fork"])
def test_threads_and_processes_are_told_apart(device, durable, tmp_path, fork):
    record(device, tmp_path / "rec", durable, "/dev/dax0.0", "persist", "thread", fork, "persist")
    seen = [(event.offset, event.thread) for event in events(tmp_path / "rec") if event.type == 1]
    assert seen == [(0, 0), (256, 1), (512, 2), (768, 0)]


def test_what_a_killed_program_did_is_there(device, durable, tmp_path):
    shown = record(device, tmp_path / "rec", durable, "/dev/dax0.0", "persist", "flush", "kill")
    assert shown == [*STEPS["persist"], ("store", 256, 64), ("flush", 256, 1)]
    assert described(tmp_path / "rec")["status"] == -signal.SIGKILL


@pytest.mark.parametrize("first", [[], ["thread"]])  # alone, and not
def test_a_program_that_jumps_out_of_a_fault_is_recorded_from_there_on(device, durable, tmp_path, first):
    steps = [*first, "persist", "wait", "guarded", "wait", "persist"]
    with device.record(tmp_path / "rec", scan="none"):
        program = device.popen([durable, device.path, *steps], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for act in (device.kill, device.revive):
            assert program.stdout.read(1) == b"w"
            act()
            program.stdin.write(b"g")
            program.stdin.flush()
        assert program.communicate()[1] is None
    assert program.returncode == 0
    last = 256 * (len(steps) - 1)
    assert told(tmp_path / "rec")[-2:] == [("store", last, 64), ("persist", last, 1)]


def test_a_site_is_a_line_of_the_program(device, durable, tmp_path):
    record(device, tmp_path / "rec", durable, "/dev/dax0.0", "persist")
    first = (tmp_path / "rec/log").read_bytes()[LOG_HEADER.size :]
    site = EVENT.unpack(first[: EVENT.size])["site"]
    (module,) = [m for m in described(tmp_path / "rec")["modules"] if m["start"] <= site < m["end"]]
    assert module["path"] == str(durable)
    where = hex(site - module["start"] + module["offset"] - 1)
    found = subprocess.run(["addr2line", "-f", "-e", durable, where], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[0] in ("persist_line", "step", "main")  # or where it was inlined


def test_what_is_told_of_the_code_does_not_grow_with_each_thread(device, durable):
    with device.record() as recorder:
        device.run([durable, "/dev/dax0.0", *["thread"] * 64], check=True)
        maps = os.pread(recorder._modules, 1 << 24, 0).decode().splitlines()
    assert 1 <= len([line for line in maps if "r-xp" in line and line.endswith(str(durable))]) <= 8


def test_a_program_is_not_recorded_before_or_after(device, durable, tmp_path):
    device.run([durable, "/dev/dax0.0", "persist"], check=True)
    assert record(device, tmp_path / "rec", "true") == []
    device.run([durable, "/dev/dax0.0", "flush"], check=True)
    assert told(tmp_path / "rec") == []


def test_a_program_that_goes_on_after_the_recording_is_not_disturbed(device, durable, tmp_path):
    steps = ["persist"] * 2000
    with device.record(tmp_path / "rec"):
        program = device.popen([durable, "/dev/dax0.0", *steps])
    assert program.wait(60) == 0


def test_programs_at_the_same_time_lose_nothing(device, durable, tmp_path):
    program = f"{durable} /dev/dax0.0 {'persist drain ' * 2000}"
    record(device, tmp_path / "rec", "sh", "-c", f"{program} & {program} & {program} & wait")
    log = events(tmp_path / "rec")
    assert [event.seq for event in log] == [*range(1, len(log) + 1)]
    for thread in range(3):
        told = [event.type for event in log if event.thread == thread and event.type != 1]
        assert told == [EVENT_PERSIST, EVENT_FENCE] * 2000
    assert sorted(event.offset for event in log if event.type == 1) == [512 * n for n in range(2000)]


@pytest.mark.parametrize("turn", range(5))
def test_nothing_is_lost_when_others_join_the_thread_that_was_alone(device, compiled, tmp_path, turn):
    """And what a line held is there in the order in which it did, whoever told of it."""
    require_library("libpmem.h", "libpmem-dev")
    program = compiled("joining", "-lpmem")
    with device.record(tmp_path / "rec", scan="none") as recorder:
        recorder.status = device.run([program, "/dev/dax0.0", "3000"]).returncode
    log = events(tmp_path / "rec")
    counted = {
        line: [int.from_bytes(event.data[:8], "little") for event in log if event.data and event.offset == 1024 * line]
        for line in range(3)
    }
    assert recorder.status == 0
    assert counted == {line: [*range(1, 3001)] for line in range(3)}
    persisted = Counter(event.thread for event in log if event.type == EVENT_PERSIST)
    assert sorted(persisted.values()) == [3000, 6000, 6000]


def test_a_program_that_cannot_take_part_is_no_program_that_never_flushes(device, durable, tmp_path):
    recorder = device.record(tmp_path / "rec")
    device.run(["sh", "-c", f"ulimit -v 4000000; exec {durable} /dev/dax0.0 persist"], check=True)
    with pytest.raises(
        UsageError, match=r"could not be recorded \(Cannot allocate memory\), let it have the 64G of addresses"
    ):
        recorder.close()


def test_a_program_waits_where_its_events_cannot_be_kept_as_fast(device, compiled, tmp_path, monkeypatch):
    require_library("libpmem.h", "libpmem-dev")
    monkeypatch.setattr(fmt, "LOG_HELD", 4 << 20)
    monkeypatch.setattr(collector, "_MUCH", 1 << 40)
    count = 40_000
    with device.record(tmp_path / "rec", scan="none") as recorder:
        program = device.popen([compiled("joining", "-lpmem"), "/dev/dax0.0", str(count)])
        until(lambda: recorder._log.held() > 3 << 20)
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.3)
        assert recorder._log.held() < 6 << 20
        monkeypatch.setattr(collector, "_MUCH", 0)
        assert program.wait(30) == 0
    counted = Counter(event.type for event in events(tmp_path / "rec"))
    assert counted == {EVENT_STORE: 3 * count, EVENT_PERSIST: 5 * count}


def test_libpmem2_hands_out_functions_that_are_recorded(device, compiled, tmp_path):
    require_library("libpmem2.h", "libpmem2-dev")
    shown = record(device, tmp_path / "rec", compiled("pmdk_pmem2", "-lpmem2"), "/dev/dax0.0")
    assert "persist" in {event[0] for event in shown}


def test_transactions_of_libpmemobj_survive_as_they_should(device, compiled, tmp_path):
    """A transaction that was committed is whole after a power failure that loses all that it may."""
    require_library("libpmemobj.h", "libpmemobj-dev")
    obj = compiled("pmdk_obj", "-lpmemobj")
    with device.record():
        device.run([obj, "/dev/dax0.0", "create", "set", "7"], check=True, capture_output=True)
        device.run([obj, "/dev/dax0.0", "crash", "9"], capture_output=True)
        device.power_fail()
    shown = device.run([obj, "/dev/dax0.0", "read"], check=True, capture_output=True, text=True)
    assert shown.stdout == "read: found 7 14\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere a site is the library's")
@pytest.mark.parametrize(
    ("name", "libraries", "steps", "least"),
    [
        # create, root, add_range, persist, commit, abort, close; an abort jumps out of libpmemobj
        ("pmdk_obj", ["pmemobj"], ["create", "set", "7", "abort", "9"], 6),
        ("pmdk_old", ["pmem", "pmemlog", "pmemblk"], ["log"], 3),
        ("pmdk_old", ["pmem", "pmemlog", "pmemblk"], ["blk"], 2),
    ],
    ids=["libpmemobj", "libpmemlog", "libpmemblk"],
)
def test_what_a_library_of_pmdk_does_is_told_by_where_the_program_called_it(
    compiled, tmp_path, name, libraries, steps, least
):
    """Also in calls that the library makes of itself."""
    for library in libraries:
        require_library(f"lib{library}.h", f"lib{library}-dev")
    program = compiled(name, *(f"-l{library}" for library in libraries))
    with Engine() as engine:
        device = engine.add_region("32M").devices[0]
        with device.record(tmp_path / "rec"):
            device.run([program, "/dev/dax0.0", *steps], check=True, capture_output=True)
    with Recording(tmp_path / "rec") as recording:
        (code,) = [module for module in recording.modules if module.path == str(program)]
        sites = Counter(event.site for event in recording.events() if event.type & EVENT_FENCE)
    assert [site for site in sites if not code.start <= site < code.end] == []
    assert len(sites) >= least


HIDDEN = """
import ctypes
obj = ctypes.CDLL("libpmemobj.so.1")
obj.pmemobj_create.restype = ctypes.c_void_p
obj.pmemobj_create.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint]
assert obj.pmemobj_create(b"/dev/dax0.0", b"layout", 0, 0)
"""


@pytest.mark.parametrize("recorded", [True, False])
def test_a_library_that_was_loaded_out_of_others_sight_works(device, compiled, tmp_path, recorded):
    require_library("libpmemobj.h", "libpmemobj-dev")
    if recorded:
        device.record(tmp_path / "rec")
    device.run([sys.executable, "-c", HIDDEN], check=True, timeout=30)
    if recorded:
        device._recorder.close()
        assert any(event.type & EVENT_FENCE for event in events(tmp_path / "rec"))
