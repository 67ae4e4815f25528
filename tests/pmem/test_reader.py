"""A recording is read as it was written, and refused when it is damaged."""

import json
import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxemu._core import index_log
from daxemu.errors import UsageError
from daxemu.pmem.format import EVENT, EVENT_STORE, LOG_HEADER, LOG_STRIDE
from daxemu.pmem.points import crash_points, parse_points
from daxemu.pmem.reader import EventType, Recording
from tests.pmem.recordings import line, make_recording

WRITTEN = [
    ("store", 64, line("a"), {"thread": 1, "site": 7}),
    ("flush", 64, 3, {"thread": 1}),
    ("marker", "half"),
    ("fence", {"thread": 1}),
]


@pytest.fixture
def path(tmp_path):
    return make_recording(tmp_path / "r", WRITTEN)


def test_events_are_read_as_written(path):
    with Recording(path) as recording:
        events = list(recording.events())
        assert [event.type for event in events] == list(map(EventType, (1, 2, 8, 4)))
        assert events[0] == (1, EventType.STORE, 1, 64, 64, 7, line("a"), False)
        assert recording.markers == [(3, "half")]
        assert recording.last_markers(3) == []
        assert recording.last_markers(4) == ["half"]


@pytest.mark.parametrize(
    ("points", "found"), [("fences", [4, 5]), ("flushes", [2, 4, 5]), ("markers", [3, 5]), (2, [1, 3, 5])]
)
def test_crash_points(path, points, found):
    with Recording(path) as recording:
        assert crash_points(recording, points) == found


def test_points_by_name():
    assert parse_points("fences") == "fences"
    assert parse_points("20") == 20
    for wrong in ("0", "-1", "stores", ""):
        with pytest.raises(UsageError, match="say fences, flushes, markers"):
            parse_points(wrong)


def change(path, at, data):
    with open(path / "log", "r+b") as file:
        file.seek(at)
        file.write(data)


def describe(path, **values):
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | values))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: (path / "meta.json").unlink(), "daxemu crash record"),
        (lambda path: (path / "meta.json").write_text("{"), "meta.json"),
        (lambda path: (path / "meta.json").write_text('{"version": 9}'), "version is 9"),
        (lambda path: (path / "meta.json").write_text('{"version": 2}'), "does not say device"),
        (lambda path: os.truncate(path / "base", 64), "base has 64 bytes"),
        (lambda path: describe(path, modules=[{"start": 0}]), "modules is not what it should be"),
        (lambda path: describe(path, modules=[{"start": 0, "end": 1, "offset": 0, "path": 9}]), "modules is not"),
        (lambda path: describe(path, command=9, sites=[None]), "command, sites is not what it should be"),
        (lambda path: describe(path, size="1M"), "size is not what it should be"),
        (lambda path: (path / "log").unlink(), "No such file"),
        (lambda path: os.truncate(path / "log", 3), "fewer than its header"),
        (lambda path: os.truncate(path / "log", 100), "is cut off"),
        (lambda path: os.truncate(path / "log", 64 + 24 + 60), "is cut off"),
        (lambda path: change(path, 0, b"X"), "log:"),
        (lambda path: change(path, 32, bytes(8)), "log:"),
        (lambda path: change(path, 64, b"\x07"), "event 1, at byte 64, is of no known kind"),
        (lambda path: change(path, 64 + 8, b"\x01"), "past the end"),
        (lambda path: os.truncate(path / "log", 64 + 24 + 64), "1 events and should have 4"),
    ],
)
def test_what_is_damaged_is_refused(path, damage, text):
    if text == "past the end":
        meta = json.loads((path / "meta.json").read_text())
        assert meta["size"] == 1 << 20
        change(path, 64 + 8, (1 << 20).to_bytes(8, "little"))
    else:
        damage(path)
    with pytest.raises(UsageError, match=text):
        Recording(path)


def test_a_long_log_is_read_from_any_event_on(tmp_path):
    written = [("persist", number * 8, 8, {"thread": number % 5}) for number in range(2 * LOG_STRIDE + 10)]
    written[LOG_STRIDE : LOG_STRIDE + 2] = [("store", 0, line("a")), ("marker", "here")]
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        everything = list(recording.events())
        assert [event.seq for event in everything] == [*range(1, recording.end)]
        assert recording.nr_events == len(written)
        assert len(recording.fences) == len(written) - 2
        assert recording.markers == [(LOG_STRIDE + 2, "here")]
        for first in (1, 2, LOG_STRIDE, LOG_STRIDE + 1, LOG_STRIDE + 3, 2 * LOG_STRIDE + 1, recording.end):
            assert list(recording.events(first)) == everything[first - 1 :]


@settings(database=None, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 300), st.booleans())
def test_no_bytes_take_the_index_past_the_end(data, size, at, torn):
    """Whatever is in a log is refused, or read to its end."""
    event = EVENT.pack(type=EVENT_STORE, length=64, offset=64) + bytes(64)
    log = bytes(LOG_HEADER.size) + event[:at] + data
    with suppress(ValueError):
        count, end, fences, flushes, places, markers = index_log(log, size, torn)
        assert end == len(log) or torn
        assert len(places) == 8
        assert count >= len(fences) // 8 + len(flushes) // 8 + len(markers)
    with pytest.raises(ValueError, match="header"):
        index_log(log[: LOG_HEADER.size - 1], size, torn)
