"""The log is tested as a program that maps /dev/dax0.0, and as a class on the same memory."""

import sys
from pathlib import Path

import pytest
from append_log import AppendLog, LogFullError

import daxemu

PROGRAM = Path(__file__).with_name("append_log.py")


@pytest.fixture
def log(dax_device):
    """Run the program with these texts; return the records that it prints."""

    def run(*texts):
        result = dax_device.run(
            [sys.executable, PROGRAM, dax_device, *texts], capture_output=True, text=True, check=True
        )
        return result.stdout.split()

    return run


@pytest.fixture
def memory(dax_device):
    with dax_device.open() as file, file.mmap() as memory:
        yield memory


def test_records_outlive_the_program(log):
    assert log("one", "two") == ["one", "two"]
    assert log("three") == ["one", "two", "three"]


def test_torn_record_is_dropped_and_overwritten(log, memory):
    log("one", "two")
    second = bytes(memory[0:64]).index(b"two")
    memory[second + 2] = 0  # the power failed before its last byte
    assert log() == ["one"]
    assert log("three") == ["one", "three"]


def test_log_ends_with_the_device(memory):
    log = AppendLog(memory)
    log.append(bytes(len(memory) - 100))
    with pytest.raises(LogFullError):
        log.append(bytes(100))
    assert len(AppendLog(memory).records) == 1


def test_device_that_goes_away_takes_nothing_along(dax_device, memory):
    log = AppendLog(memory)
    log.append(b"one")
    dax_device.kill()
    with pytest.raises(daxemu.DaxBusError):
        log.append(b"two")
    dax_device.revive()
    assert AppendLog(memory).records == [b"one"]
