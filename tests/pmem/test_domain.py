"""What survives, by the rules, on events as a log has them."""

import pytest

from daxemu import UsageError
from daxemu.pmem.domain import Domain, events_of, survivors
from daxemu.pmem.writer import LogWriter

A, B, C = (letter * 64 for letter in (b"a", b"b", b"c"))


def pending(tmp_path, *calls):
    with LogWriter(tmp_path / "log", 4096) as log:
        for name, *arguments in calls:
            getattr(log, name)(*arguments)
    domain = Domain()
    for event in events_of((tmp_path / "log").read_bytes()):
        domain.apply(event)
    return dict(domain.pending())


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
        [("flush", 0, 64, 1), ("fence", 0)],
    ],
    ids=["not flushed", "not fenced", "fenced before", "another line", "another thread"],
)
def test_a_line_that_is_not_may_be_lost(tmp_path, calls):
    assert pending(tmp_path, ("store", 0, A), *calls) == {0: [None, A]}


def test_what_was_stored_after_the_flush_is_not_covered_by_it(tmp_path):
    calls = [("store", 0, A), ("flush", 0, 64), ("store", 0, B), ("store", 0, C), ("fence",)]
    assert pending(tmp_path, *calls) == {0: [A, B, C]}


def test_a_fence_of_an_older_version_takes_nothing_back(tmp_path):
    calls = [("store", 0, A), ("flush", 0, 64, 0), ("store", 0, B), ("flush", 0, 64, 1), ("fence", 1), ("fence", 0)]
    assert pending(tmp_path, *calls) == {}
    assert pending(tmp_path, *calls, ("store", 0, C)) == {0: [B, C]}


def test_policies():
    assert survivors("none")([None, A, B]) is None
    assert survivors("all")([None, A, B]) == B
    assert {survivors(seed)([None, A, B]) for seed in range(40)} == {None, A, B}
    with pytest.raises(UsageError, match="'some'"):
        survivors("some")
