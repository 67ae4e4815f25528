"""daxemu crash record: a recording made from the command line."""

import signal
import subprocess
import sys

import pytest

from tests.pmem.logs import described, told


@pytest.fixture
def record(tmp_path):
    def call(*arguments):
        line = [sys.executable, "-m", "daxemu", "crash", "record", "-o", tmp_path / "rec", *arguments]
        return subprocess.run([*map(str, line)], capture_output=True, text=True, timeout=60)

    return call


def test_a_program_is_recorded_with_the_devices_that_were_asked_for(record, durable, tmp_path):
    result = record("--region", "size=8M,persistence=cpu_cache", "--", durable, "/dev/dax0.0", "persist")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert told(tmp_path / "rec") == [("store", 0, 64), ("persist", 0, 1)]
    expected = {
        "size": 8 << 20,
        "domain": "cpu_cache",
        "command": [str(durable), "/dev/dax0.0", "persist"],
        "status": 0,
    }
    assert expected.items() <= described(tmp_path / "rec").items()


@pytest.mark.parametrize(("scan", "found"), [((), 1), (("--scan", "flushes"), 1), (("--scan", "none"), 3)])
def test_where_lines_that_nobody_flushed_are_looked_for(record, durable, tmp_path, scan, found):
    assert record(*scan, "--", durable, "/dev/dax0.0", "store", "drain", "drain").returncode == 0
    assert told(tmp_path / "rec").index(("store", 0, 64)) == found - 1


@pytest.mark.parametrize("scan", ["often", "0", "-1", ""])
def test_a_place_to_look_that_is_none_is_refused(record, tmp_path, scan):
    refused = record("--scan", scan, "--", "true")
    assert refused.returncode == 2
    assert "say none, fences, flushes, markers, or at each how many fences" in refused.stderr
    assert not (tmp_path / "rec").exists()


def test_it_ends_as_the_program_does(record, durable, tmp_path):
    result = record("--", durable, "/dev/dax0.0", "persist", "kill")

    assert result.returncode == -signal.SIGKILL
    assert described(tmp_path / "rec")["status"] == -signal.SIGKILL


def test_one_of_several_devices_is_named(record, durable, tmp_path):
    two = ("--region", "size=4M", "--region", "size=4M")
    refused = record(*two, "--", durable, "/dev/dax1.0", "persist")
    assert refused.returncode == 2
    assert "name it by --device" in refused.stderr

    assert record(*two, "--device", "dax1.0", "--", durable, "/dev/dax1.0", "persist").returncode == 0
    assert described(tmp_path / "rec")["device"] == "dax1.0"
    assert len(told(tmp_path / "rec")) == 2


def test_a_program_that_is_not_there_leaves_no_recording(record, tmp_path):
    assert record("--", "no-such-program").returncode == 127
    assert not (tmp_path / "rec").exists()


def test_what_is_there_is_not_written_over(record, tmp_path):
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec/mine").touch()
    result = record("--", "true")
    assert result.returncode == 2
    assert "name a new directory" in result.stderr
    assert [path.name for path in (tmp_path / "rec").iterdir()] == ["mine"]
