"""What was appended is there again: after a power failure, a torn write, and a device that went away."""

from pathlib import Path

import pytest
from append_log import AppendLog, HastyLog, LogFullError

import daxemu

SOURCE = Path(__file__).with_name("append_log.py")
BODIES = [b"short", b"longer than a cache line: " + bytes(range(1, 150)), b"last"]


@pytest.fixture
def memory(dax_device):
    with dax_device.open() as file, file.mmap() as memory:
        yield memory


def test_a_log_is_read_when_it_is_opened(memory):
    AppendLog(memory).append(b"one")
    AppendLog(memory).append(b"two")
    assert AppendLog(memory).records == [b"one", b"two"]


def test_a_torn_record_is_dropped_and_overwritten(memory):
    log = AppendLog(memory)
    log.append(b"one")
    log.append(b"two")
    memory[bytes(memory[:128]).index(b"two") + 2] = 0  # as if it had been written in part
    log = AppendLog(memory)
    assert log.records == [b"one"]
    log.append(b"three")
    assert AppendLog(memory).records == [b"one", b"three"]


def test_a_log_ends_with_the_device(memory):
    log = AppendLog(memory)
    log.append(bytes(len(memory) - 100))
    with pytest.raises(LogFullError):
        log.append(bytes(100))
    assert len(AppendLog(memory).records) == 1


def test_a_device_that_goes_away_takes_nothing_along(dax_device, memory):
    log = AppendLog(memory)
    log.append(b"one")
    dax_device.kill()
    with pytest.raises(daxemu.DaxBusError):
        log.append(b"two")
    dax_device.revive()
    assert AppendLog(memory).records == [b"one"]


def append_all(kind):
    def workload(memory):
        log = kind(memory)
        for number, body in enumerate(BODIES, 1):
            log.append(body)
            memory.marker(str(number))

    return workload


def nothing_is_lost(memory, markers):
    appended = int(markers[-1]) if markers else 0
    records = AppendLog(memory).records
    assert records == BODIES[: len(records)]
    assert len(records) >= appended, f"{appended} were appended, {len(records)} are there"


def test_a_power_failure_takes_nothing_that_was_appended(dax_crash):
    result = dax_crash.explore(append_all(AppendLog), nothing_is_lost)
    assert result.states > result.points == len(BODIES) + 1
    assert result.sampled == 0  # all states were tried


def test_a_missing_flush_is_found(dax_crash):
    lines = SOURCE.read_text().splitlines()
    persist = next(number for number, line in enumerate(lines, 1) if "persist(at, _HEADER.size)" in line)
    with pytest.raises(pytest.fail.Exception, match=f"(?s)2 were appended, 1 are there.*at append_log.py:{persist}"):
        dax_crash.explore(append_all(HastyLog), nothing_is_lost)
