"""Lines that were stored to and that nobody has flushed: a cache may write them back at any time."""

import itertools
import os
import signal
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxemu import Engine, UnavailableError
from daxemu.pmem import Recording, explore
from daxemu.pmem.format import EVENT_STORE, STATE
from daxemu.pmem.report import notes
from tests.conftest import require_library
from tests.pmem.logs import events, told

LINE = 64


@pytest.fixture
def scanned(compiled):
    require_library("libpmem.h", "libpmem-dev")
    return compiled("scanned", "-lpmem")


def compare_all(recorder):
    """Do without the kernel's help, as on Linux before 6.7."""
    os.pwrite(recorder._state, b"\1", STATE.offset("scan_diff"))


@pytest.fixture(params=["pagemap", "diff"])
def record(request, device, tmp_path):
    """Record the device in a new directory, by each way to find what was stored."""

    def record(scan="fences"):
        recorder = device.record(tmp_path / "rec", scan=scan)
        if request.param == "diff":
            compare_all(recorder)
        return recorder

    return record


# -- the bug that is found ------------------------------------------------------------------------


def flag_before_data(memory):
    memory[0] = 1  # may be written back before the data is safe
    memory[64:70] = b"value!"
    memory.persist(64, 6)
    memory.persist(0, 1)


def flag_after_data(memory):
    memory[64:70] = b"value!"
    memory.persist(64, 6)
    memory[0] = 1
    memory.persist(0, 1)


def data_is_there(memory):
    assert memory[0] == 0 or memory[64:70] == b"value!"


def test_a_line_that_a_cache_writes_back_too_early_is_found(dax_crash):
    result = dax_crash.explore(flag_before_data, data_is_there, fail=False)
    assert [line.offset for line in result.failures[0].missing] == [64]
    assert dax_crash.explore(flag_before_data, data_is_there, scan="none").ok
    assert dax_crash.explore(flag_after_data, data_is_there).ok


@pytest.mark.parametrize("scan", ["flushes", "fences", 1])
def test_where_it_is_looked_for(device, record, tmp_path, scan):
    with device.open() as file, file.mmap() as memory, record(scan):
        flag_before_data(memory)
    assert not explore(tmp_path / "rec", data_is_there).ok


def test_the_same_of_a_program(device, record, scanned, tmp_path):
    """The flag is line 1, the data line 0."""
    with record():
        device.run([scanned, "/dev/dax0.0", "1", "0", "persist"], check=True)
    result = explore(tmp_path / "rec", lambda memory: memory[64] == 0 or memory[0] == ord("b"))
    assert [line.offset for line in result.failures[0].missing] == [0]


# -- where programs are looked at -----------------------------------------------------------------

FENCE = "fence"


def stored(line):
    return "store", LINE * line, LINE


WAYS = {
    "a fence": (["1", "drain"], [stored(1), FENCE]),
    "each once": (["1", "drain", "drain", "2", "1", "drain"], [stored(1), FENCE, FENCE, stored(1), stored(2), FENCE]),
    "far apart": (["1", "drain", "60000", "9", "drain"], [stored(1), FENCE, stored(9), stored(60000), FENCE]),
    "between flush and fence": (["0", "flush", "0", "drain"], [stored(0), ("flush", 0, 1), stored(0), FENCE]),
    "another mapping": (
        ["1", "o2", "drain", "o3", "4", "drain"],
        [stored(1), stored(2), FENCE, stored(3), stored(4), FENCE],
    ),
    "mapped again": (["drain", "1", "again", "drain", "2", "drain"], [FENCE, stored(1), FENCE, stored(2), FENCE]),
    "mapped over": (["drain", "1", "over", "drain", "2", "drain"], [FENCE, stored(1), FENCE, stored(2), FENCE]),
    "moved": (["drain", "1", "move", "drain", "2", "drain"], [FENCE, stored(1), FENCE, stored(2), FENCE]),
    "dropped": (["drain", "1", "drop", "drain", "2", "drain"], [FENCE, stored(1), FENCE, stored(2), FENCE]),
    "protected": (["drain", "1", "protect", "drain", "2", "drain"], [FENCE, stored(1), FENCE, stored(2), FENCE]),
    "descriptors closed": (["drain", "close", "2", "drain", "3", "drain"], [FENCE, stored(2), FENCE, stored(3), FENCE]),
    "a thread's": (["drain", "1", "thread", "drain", "2", "drain"], [FENCE, stored(1), FENCE, stored(2), FENCE]),
    "a child's": (
        ["1", "drain", "2", "fork", "3", "drain", "4", "drain"],
        [stored(1), FENCE, stored(2), stored(3), FENCE, stored(4), FENCE],
    ),
    "killed": (["1", "drain", "2", "kill"], [stored(1), FENCE, stored(2)]),
}


@pytest.mark.parametrize("way", WAYS)
def test_stores_are_seen_before_the_next_fence(device, record, scanned, tmp_path, way):
    steps, expected = WAYS[way]
    with record():
        status = device.run([scanned, "/dev/dax0.0", *steps]).returncode
    assert status == (-signal.SIGKILL if "kill" in steps else 0)
    assert told(tmp_path / "rec") == expected


def test_a_line_that_is_stored_to_all_the_time_is_seen_as_it_was(device, record, scanned, tmp_path):
    """Words are stored in order: none is ever newer than the one before it."""
    with record():
        device.run([scanned, "/dev/dax0.0", "count", "drains"], check=True)
    lines = [struct.unpack("8Q", event.data) for event in events(tmp_path / "rec") if event.offset == 4096]
    assert len(lines) > 50
    assert all(word >= following >= words[0] - 1 for words in lines for word, following in itertools.pairwise(words))


@pytest.mark.parametrize("backend", ["tmpfs:huge", "tmpfs:memfd"])
def test_of_pages_of_any_size_only_lines_that_were_stored_to_are_seen(scanned, tmp_path, backend):
    try:
        with Engine() as engine:
            device = engine.add_region("4M", backend=backend).devices[0]
            with device.record(tmp_path / "rec"):
                device.run([scanned, "/dev/dax0.0", "1", "60000", "drain", "2", "drain"], check=True)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert told(tmp_path / "rec") == [stored(1), stored(60000), FENCE, stored(2), FENCE]


def test_a_program_sees_nothing_of_it(device, record, scanned):
    plain = device.run([scanned, "/dev/dax0.0", "flags"], check=True, capture_output=True).stdout
    with record():
        steps = ["flags", "1", "drain", "drain", "2", "drain", "flags"]
        shown = device.run([scanned, "/dev/dax0.0", *steps], check=True, capture_output=True).stdout
    assert plain.startswith(b"VmFlags:")
    assert shown == 2 * plain


def test_mappings_that_were_revoked_meanwhile(device, record, tmp_path):
    with device.open() as file, file.mmap() as memory, record():
        memory[LINE] = 1
        memory.drain()
        memory[2 * LINE] = 2
        device._device.kill()
        device._device.run()
        memory.drain()
        memory[3 * LINE] = 3
        memory.drain()
    assert told(tmp_path / "rec") == [stored(1), FENCE, stored(2), FENCE, stored(3), FENCE]


@pytest.mark.parametrize(("scan", "found"), [("fences", [0, 4, 8]), (1, [*range(9)]), (3, [0, 3, 6])])
def test_where_all_is_compared_that_is_less_often_the_larger_it_is(tmp_path, scan, found):
    """Of 16 MiB before each fourth fence, unless it was said before which."""
    with Engine() as engine:
        device = engine.add_region("16M").devices[0]
        with device.open() as file, file.mmap() as memory:
            memory[0 : 16 << 20] = b"x" * (16 << 20)
            with device.record(tmp_path / "rec", scan=scan) as recorder:
                compare_all(recorder)
                for turn in range(9):
                    memory[LINE * turn] = ord("y")
                    memory.drain()
    seen = [event.type == EVENT_STORE for event in events(tmp_path / "rec")]
    fences = [at for at, store in enumerate(seen) if not store]
    assert [turn for turn, at in enumerate(fences) if at and seen[at - 1]] == found
    with Recording(tmp_path / "rec") as recording:
        assert ("scan:seldom" in recording.sources) == (scan == "fences")
        assert any("--scan 1" in note for note in notes(recording)) == (scan == "fences")


CHANGES = st.lists(st.tuples(st.integers(0, 4095), st.binary(min_size=1, max_size=200)), max_size=8)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(CHANGES, min_size=1, max_size=5), spread=st.sampled_from([1, 64, 1000]), diff=st.booleans())
def test_what_is_seen_is_what_has_changed(steps, spread, diff):
    """Stores, then a fence, again and again: before each fence are the lines that are not as before, and no others."""
    expected, seen = [], []
    with tempfile.TemporaryDirectory() as directory, Engine() as engine:
        device = engine.add_region("4M").devices[0]
        path = Path(directory, "rec")
        with device.open() as file, file.mmap() as memory, device.record(path) as recorder:
            if diff:
                compare_all(recorder)
            before = {}
            for changes in steps:
                touched = set()
                for at, data in changes:
                    memory[at * spread : at * spread + len(data)] = data
                    touched |= set(range(at * spread // LINE, (at * spread + len(data) - 1) // LINE + 1))
                now = {line: memory[LINE * line : LINE * line + LINE] for line in touched}
                expected.append({line: data for line, data in now.items() if data != before.get(line, bytes(LINE))})
                before |= now
                memory.drain()
        lines = {}
        for event in events(path):
            if event.type == EVENT_STORE:
                lines[event.offset // LINE] = event.data
            else:
                seen.append(lines)
                lines = {}
    assert seen == expected
    assert lines == {}
