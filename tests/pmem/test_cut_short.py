"""Recordings whose recorder was killed: what was in the file by then can be read."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from daxemu.errors import UsageError
from daxemu.pmem import Recording, explore, recorder
from daxemu.pmem.format import LOG_HEADER
from daxemu.pmem.report import as_json, report_text
from daxemu.pmem.writer import pack_header
from daxemu.session.directory import sweep
from tests.cli.conftest import until
from tests.pmem.logs import described, told
from tests.pmem.recordings import line, make_recording

RECORDS = """
import sys, time
from daxemu import Engine
from daxemu.pmem import collector
collector._SECONDS = float(sys.argv[2])
with Engine() as engine:
    device = engine.add_region("4M").devices[0]
    with device.open() as file, file.mmap() as m, device.record(sys.argv[1]):
        m[0:4] = b"some"
        m.persist(0, 4)
        m.marker("one")
        m[64:68] = b"more"
        m.flush(64, 4)
        print("w", flush=True)
        sys.stdin.read()
"""
EVENTS = [("store", 0, 64), ("persist", 0, 4), "marker", ("store", 64, 64), ("flush", 64, 4)]


@pytest.fixture
def killed(tmp_path):
    """Record something, kill the recorder when the file is so large."""

    def record(enough, seconds=0, look=lambda _: None):
        path = tmp_path / "rec"
        command = [sys.executable, "-c", RECORDS, str(path), str(seconds)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as recorder:
            recorder.stdout.read(1)
            until(lambda: (path / "log").stat().st_size >= enough and (seconds or described(path)["modules"]))
            look(path)
            recorder.kill()
        return path

    return record


@pytest.fixture(autouse=True)
def swept():
    """Sessions of killed processes are removed by the next one, or by this."""
    yield
    sweep()


WHOLE = LOG_HEADER.size + 5 * 24 + 2 * 64 + 8


def test_all_is_there_that_was_in_the_file(killed):
    path = killed(WHOLE)

    assert told(path) == EVENTS
    with Recording(path) as recording:
        assert recording.cut_short == "the recorder was killed"
        assert recording.sources[0] == "api"
        result = explore(recording, lambda _: True)
        told_so = "the recording is cut short after 5 events (the last marker is one): the recorder was killed"
        assert f"note: {told_so}" in report_text(result, recording)
        assert as_json(result, recording)["cut_short"] == "the recorder was killed"
    assert result.states == 3


def test_call_sites_have_names(killed):
    path = killed(WHOLE)
    assert [module["path"] for module in described(path)["modules"]] == ["<string>"]


def test_what_is_still_being_recorded_is_refused(killed):
    def look(path):
        with pytest.raises(UsageError, match="still being recorded; end that first"):
            Recording(path)

    killed(WHOLE, look=look)


def test_before_the_first_event_there_is_nothing(killed):
    with pytest.raises(UsageError, match="the recorder was killed before there was one in the file"):
        Recording(killed(LOG_HEADER.size, seconds=1000))


def test_where_there_is_no_room_to_begin_there_is_no_directory(dax_device, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "copy_written", no_room)
    with pytest.raises(UsageError, match="r: No space left on device"):
        dax_device.record(tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_where_there_is_no_room_for_its_end_that_is_told(dax_device, tmp_path, monkeypatch):
    recording = dax_device.record(tmp_path / "r")
    monkeypatch.setattr(recorder, "describe", no_room)
    with pytest.raises(UsageError, match="r: No space left on device"):
        recording.close()
    with dax_device.record():  # another may begin
        pass


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_one_that_ends_is_whole(tmp_path):
    command = [sys.executable, "-c", RECORDS, str(tmp_path / "rec"), "0"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    assert described(tmp_path / "rec")["cut_short"] == ""
    assert sorted(path.name for path in (tmp_path / "rec").iterdir()) == ["base", "log", "meta.json"]


def make_cut(path, size):
    """A recording of two events whose log has so many bytes behind its header."""
    make_recording(path, [("store", 0, line("a")), ("marker", "m")], cut_short="the recorder was killed")
    with (path / "log").open("r+b") as log:
        log.write(pack_header(1 << 20, 0))
        log.truncate(LOG_HEADER.size + size)
    return path


@pytest.mark.parametrize("size", [1, 23, 24, 87])
def test_without_one_whole_event_it_is_refused(tmp_path, size):
    with pytest.raises(UsageError, match="it has no events"):
        Recording(make_cut(tmp_path / "r", size))


@pytest.mark.parametrize(("size", "found"), [(88, 1), (89, 1), (88 + 31, 1), (88 + 32, 2)])
def test_an_event_that_was_being_written_is_none(tmp_path, size, found):
    path = make_cut(tmp_path / "r", size)
    assert told(path) == [("store", 0, 64), "marker"][:found]
    result = explore(path, lambda _: True)
    assert (result.states, len(result.findings)) == (2, 1)


def test_damage_is_refused_all_the_same(tmp_path):
    path = make_cut(tmp_path / "r", 120)
    with (path / "log").open("r+b") as log:
        log.seek(LOG_HEADER.size)
        log.write(b"\x07")
    with pytest.raises(UsageError, match="event 1, at byte 64, is of no known kind"):
        Recording(path)


def test_a_log_that_is_complete_has_to_be(tmp_path):
    """That a description says so is no reason to take less than the header promises."""
    path = make_recording(tmp_path / "r", [("fence",), ("fence",)], cut_short="No space left on device")
    os.truncate(path / "log", LOG_HEADER.size + 24 + 23)
    with pytest.raises(UsageError, match="is cut off"):
        Recording(path)


def test_a_killed_command_is_read_by_the_others(tmp_path):
    path = tmp_path / "rec"
    daxemu = [sys.executable, "-m", "daxemu", "crash"]
    program = "import mmap, os, sys; print('w', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [*daxemu, "record", "-o", path, "--", sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as recorder:
        recorder.stdout.read(1)
        recorder.send_signal(signal.SIGKILL)
    shown = subprocess.run([*daxemu, "show", path], capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert shown.stderr.endswith("it has no events: the recorder was killed before there was one in the file\n")
