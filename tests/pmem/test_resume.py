"""Explorations that are interrupted go on, to the same result."""

import fcntl
import json

import pytest

from daxemu.errors import UsageError
from daxemu.pmem import explore, journal
from daxemu.pmem.journal import JOURNAL
from tests.pmem.recordings import make_recording
from tests.pmem.test_explore import flag_has_its_value, publish, same

WRITTEN = [event for number in range(10) for event in publish(number, flushed=number % 3 > 0)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(journal, "_SECONDS", 0)


@pytest.fixture
def recording(tmp_path):
    return make_recording(tmp_path / "r", WRITTEN)


@pytest.fixture
def whole(tmp_path):
    return explore(make_recording(tmp_path / "whole", WRITTEN), flag_has_its_value)


def interrupt(recording, after, **options):
    def progress(result, _):
        if result.points >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupted:
        explore(recording, flag_has_its_value, progress=progress, **options)
    return interrupted.value.__notes__


def matches(result, whole, recording):
    whole.recording, whole.resumed = recording, result.resumed
    return same(result, whole)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("after", [1, 7, 16])
def test_it_comes_to_the_same(recording, whole, after, jobs):
    notes = interrupt(recording, after)
    assert notes == [f"{after} of {whole.points} crash points are kept; resume goes on with the others"]
    result = explore(recording, flag_has_its_value, resume=True, jobs=jobs)
    assert result.resumed == after
    assert result.failed
    assert matches(result, whole, recording)
    assert not (recording / JOURNAL).exists()


def test_what_was_unsteady_stays_so(tmp_path):
    path, once = make_recording(tmp_path / "r", WRITTEN), []

    def check(memory):
        return bool(once) or once.append(1) or False

    def progress(result, _):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explore(path, check, progress=progress)
    [failure] = explore(path, check, resume=True).failures
    assert failure.unsteady


def test_again_and_again(recording, whole):
    interrupt(recording, 3)
    interrupt(recording, 9, resume=True)
    assert matches(explore(recording, flag_has_its_value, resume=True), whole, recording)


def test_a_line_that_was_being_written_is_done_again(recording, whole):
    interrupt(recording, 5)
    with (recording / JOURNAL).open("r+") as file:
        file.truncate((recording / JOURNAL).stat().st_size - 9)
    interrupt(recording, 6, resume=True)
    result = explore(recording, flag_has_its_value, resume=True)
    assert result.resumed == 6
    assert matches(result, whole, recording)


@pytest.mark.parametrize("text", ["", '{"check'])
def test_a_journal_without_a_beginning_is_begun(recording, whole, text):
    (recording / JOURNAL).write_text(text)
    interrupt(recording, 4, resume=True)
    assert matches(explore(recording, flag_has_its_value, resume=True), whole, recording)


@pytest.mark.parametrize(
    ("options", "told"), [({"limit": 7}, "limit was 1000"), ({"order": "accumulative"}, "order was 'auto'")]
)
def test_other_options_are_refused_and_lose_nothing(recording, whole, options, told):
    interrupt(recording, 5)
    with pytest.raises(UsageError, match=told):
        explore(recording, flag_has_its_value, resume=True, **options)
    assert explore(recording, flag_has_its_value, resume=True).resumed == 5


def test_without_resume_all_begins_anew(recording, whole):
    interrupt(recording, 5)
    result = explore(recording, flag_has_its_value)
    assert result.resumed == 0
    assert matches(result, whole, recording)
    assert not (recording / JOURNAL).exists()


def test_nothing_to_resume_is_a_beginning(recording, whole):
    assert matches(explore(recording, flag_has_its_value, resume=True), whole, recording)


def test_what_another_is_at_is_left_to_it(recording, whole):
    interrupt(recording, 5)
    with (recording / JOURNAL).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another exploration is at it"):
            explore(recording, flag_has_its_value, resume=True)
        assert matches(explore(recording, flag_has_its_value), whole, recording)
    assert len([json.loads(line) for line in (recording / JOURNAL).read_text().splitlines()]) == 6
