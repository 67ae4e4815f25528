"""What survives, by the rules, on events as a log has them."""

import pytest

from daxemu import UsageError
from daxemu.pmem.domain import survivors
from daxemu.pmem.reader import Recording
from daxemu.pmem.states import CrashImage
from tests.pmem.recordings import line, make_recording

A, B, C, DURABLE = (line(letter) for letter in "abc0")


def pending(tmp_path, *calls):
    """What lines may hold: what is durable, and the stores since."""
    path = make_recording(tmp_path / f"r{len(list(tmp_path.iterdir()))}", calls, size=4096, base=DURABLE)
    with Recording(path) as recording, CrashImage(recording) as image:
        image.advance(recording.end)
        shown = {}
        for i, (offset, versions) in enumerate(image.pending):
            for choice in range(len(versions) + 1):
                image.states.choose(tuple(choice if i == j else 0 for j in range(len(image.pending))))
                shown.setdefault(offset, []).append(bytes(image.view[offset : offset + 64]))
        return shown


def test_a_line_that_was_flushed_and_fenced_is_safe(tmp_path):
    assert pending(tmp_path, ("store", 0, A), ("flush", 10, 1), ("fence",)) == {}
    assert pending(tmp_path, ("store", 0, A), ("persist", 10, 1)) == {}


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [("flush", 0, 64)],
        [("fence",), ("flush", 0, 64)],
        [("flush", 64, 64), ("fence",)],
        [("persist", 64, 64)],
        [("flush", 0, 64, 1), ("fence", 0)],
    ],
    ids=["not flushed", "not fenced", "fenced before", "another line", "another line, persist", "another thread"],
)
def test_a_line_that_is_not_may_be_lost(tmp_path, calls):
    assert pending(tmp_path, ("store", 0, A), *calls) == {0: [DURABLE, A]}


def test_what_was_stored_after_the_flush_is_not_covered_by_it(tmp_path):
    calls = [("store", 0, A), ("flush", 0, 64), ("store", 0, B), ("store", 0, C), ("fence",)]
    assert pending(tmp_path, *calls) == {0: [A, B, C]}


def test_a_fence_of_an_older_version_takes_nothing_back(tmp_path):
    calls = [("store", 0, A), ("flush", 0, 64, 0), ("store", 0, B), ("flush", 0, 64, 1), ("fence", 1), ("fence", 0)]
    assert pending(tmp_path, *calls) == {}
    assert pending(tmp_path, *calls, ("store", 0, C)) == {0: [B, C]}


def test_policies():
    assert survivors("none")(2) == 0
    assert survivors("all")(2) == 2
    assert {survivors(seed)(2) for seed in range(40)} == {0, 1, 2}
    with pytest.raises(UsageError, match="'some'"):
        survivors("some")
