"""The explorer in C against a reference model that is right at a glance: the same images, none more, none less."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daxemu.errors import UsageError
from daxemu.pmem.model import crash_states
from daxemu.pmem.points import crash_points
from daxemu.pmem.reader import Recording
from daxemu.pmem.states import CrashImage, State, parse_state
from tests.pmem.recordings import LINE, line, make_recording

LINES = 4
threads = st.sampled_from([{"thread": 0}, {"thread": 1}])
events = st.lists(
    st.one_of(
        st.tuples(
            st.just("store"),
            st.integers(0, LINES - 1).map(LINE.__mul__),
            st.sampled_from("ABC").map(line),
            threads,
        ),
        st.tuples(st.just("flush"), st.integers(0, LINES * LINE - 70), st.integers(0, 70), threads),
        st.tuples(st.just("fence"), threads),
        st.tuples(st.just("persist"), st.integers(0, LINES * LINE - 70), st.integers(0, 70), threads),
        st.tuples(st.just("marker"), st.just("here")),
    ),
    min_size=1,
    max_size=14,
)


def explored(image, points, limit=1 << 20, seed=0, order="auto"):
    """All images that a check is called with."""
    seen = []
    for point in points:
        image.advance(point)
        image.states.explore(lambda: seen.append(bytes(image.view)), order, limit, seed, 1, 0)
    return seen


@settings(database=None, deadline=None)
@example([("store", 64, line("A")), ("persist", 65, 0)], 1, False)  # a range of nothing flushes nothing
@given(events, st.sampled_from(["fences", "flushes", "markers", 1, 3]), st.booleans())
def test_every_image_is_made_and_no_other(written, points, eadr):
    with tempfile.TemporaryDirectory() as directory:
        path = make_recording(
            Path(directory, "r"),
            written,
            size=LINES * LINE,
            base=line("0") * LINES,
            domain=["memory_controller", "cpu_cache"][eadr],
        )
        with Recording(path) as recording, CrashImage(recording) as image:
            at = crash_points(recording, points)
            found = explored(image, at)
            wanted = crash_states(line("0") * LINES, recording.events(), at, eadr=eadr)

    assert set(found) == wanted
    assert len(found) == len(wanted), "an image was checked twice"


@settings(database=None, deadline=None)
@given(events, st.integers(1, 9), st.integers(0, 3))
def test_a_sample_is_of_possible_images_and_no_larger_than_the_limit(written, limit, seed):
    with tempfile.TemporaryDirectory() as directory:
        path = make_recording(Path(directory, "r"), written, size=LINES * LINE, base=line("0") * LINES)
        with Recording(path) as recording:
            at = crash_points(recording, "fences")
            with CrashImage(recording) as image:
                found = explored(image, at, limit, seed)
            with CrashImage(recording) as image:
                again = explored(image, at, limit, seed)
            wanted = crash_states(line("0") * LINES, recording.events(), at)

    assert set(found) <= wanted
    assert len(found) <= limit * len(at)
    assert found == again


@settings(database=None, deadline=None)
@given(events, st.sampled_from(["full", "accumulative", "reverse-accumulative", "no-reorder", "no-check"]))
def test_an_order_has_its_images_and_no_other(written, order):
    with tempfile.TemporaryDirectory() as directory:
        path = make_recording(Path(directory, "r"), written, size=LINES * LINE, base=line("0") * LINES)
        with Recording(path) as recording, CrashImage(recording) as image:
            at = crash_points(recording, "flushes")
            found = explored(image, at, limit=1, order=order)
            wanted = crash_states(line("0") * LINES, recording.events(), at, order=order)

    assert set(found) == wanted
    assert len(found) == len(wanted)


@settings(database=None, deadline=None, max_examples=30)
@given(events)
def test_partial_draws_three_and_any_may_be_drawn(written):
    with tempfile.TemporaryDirectory() as directory:
        path = make_recording(Path(directory, "r"), written, size=LINES * LINE, base=line("0") * LINES)
        with Recording(path) as recording:
            wanted = crash_states(line("0") * LINES, recording.events(), [recording.end])
            found = set()
            for seed in range(1000):
                with CrashImage(recording) as image:
                    image.advance(recording.end)
                    drawn = []
                    check = lambda: drawn.append(bytes(image.view))  # noqa: B023, E731
                    tried, *_ = image.states.explore(check, "partial", 1, seed << 32, 1, 0)
                    assert tried == min(3, image.states.count())
                    found.update(drawn)
                if found == wanted:
                    break

    assert found == wanted


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("accumulative", ["---", "-a-", "-ab", "-cb", "dcb"]),
        ("reverse-accumulative", ["---", "d--", "dc-", "dcb"]),
        ("no-reorder", ["dcb"]),
        ("no-check", []),
    ],
)
def test_orders_go_by_the_time_of_stores(tmp_path, order, found):
    written = [("store", at * LINE, line(name)) for at, name in ((1, "a"), (2, "b"), (1, "c"), (0, "d"))]
    path = make_recording(tmp_path / "r", written, base=line("-") * 3)
    with Recording(path) as recording, CrashImage(recording) as image:
        images = explored(image, [recording.end], order=order)
        assert image.states.count() == 12
    assert ["".join(chr(image[at * LINE]) for at in range(3)) for image in images] == found


def test_what_is_noted_is_not_checked_later(tmp_path):
    with (
        Recording(make_recording(tmp_path / "r", [("store", 0, line("a"))])) as recording,
        CrashImage(recording) as image,
    ):
        image.advance(recording.end)
        assert image.states.explore(None, "accumulative", 9, 0, 9, 0) == (2, 0, 0, [])
        assert bytes(image.view[:1]) == b"\0"
        assert image.states.explore(lambda: None, "auto", 9, 0, 9, 0) == (2, 0, 0, [])
        with pytest.raises(ValueError, match="no order"):
            image.states.explore(None, "random", 9, 0, 9, 0)


def test_what_is_stopped_ends_by_an_interrupt(tmp_path):
    with (
        Recording(make_recording(tmp_path / "r", [("store", 0, line("a"))])) as recording,
        CrashImage(recording) as image,
    ):
        image.advance(recording.end)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                image.states.explore(image.states.stop, "auto", 9, 0, 9, 0)
            assert image.view[0] == 0


@settings(database=None, deadline=None)
@given(events)
def test_fences_find_all_that_any_crash_point_finds(written):
    with tempfile.TemporaryDirectory() as directory:
        path = make_recording(Path(directory, "r"), written, size=LINES * LINE, base=line("0") * LINES)
        with Recording(path) as recording:
            base = line("0") * LINES
            at_fences = crash_states(base, recording.events(), crash_points(recording, "fences"))
            anywhere = crash_states(base, recording.events(), crash_points(recording, 1))

    assert at_fences == anywhere


def test_the_sample_has_none_all_each_and_all_but_each(tmp_path):
    names = [chr(ord("a") + i) for i in range(20)]
    written = [("store", i * LINE, line(name)) for i, name in enumerate(names)]
    with Recording(make_recording(tmp_path / "r", written, size=4096)) as recording, CrashImage(recording) as image:
        found = {
            "".join(chr(data[i * LINE]) if data[i * LINE] else "-" for i in range(20))
            for data in explored(image, [recording.end], limit=100)
        }

    every = "".join(names)
    assert {"-" * 20, every} <= found
    assert {every[:i] + "-" + every[i + 1 :] for i in range(20)} <= found
    assert {"-" * i + every[i] + "-" * (19 - i) for i in range(20)} <= found
    assert len(found) == 100


def test_a_check_fails_by_false_and_by_an_exception_only(tmp_path):
    with (
        Recording(make_recording(tmp_path / "r", [("store", 0, line("a")), ("store", LINE, line("b"))])) as recording,
        CrashImage(recording) as image,
    ):
        image.advance(recording.end)
        answers = iter([None, False, 0, KeyError("x")])

        def check():
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        tried, new, failed, failures = image.states.explore(check, "auto", 100, 0, 100, 0)

    assert (tried, new, failed) == (4, 4, 2)
    assert [(choice, repr(error)) for choice, error in failures] == [((1, 0), "None"), ((0, 1), "KeyError('x')")]


def test_an_interrupt_is_no_failure_and_leaves_the_image_as_it_was(tmp_path):
    with (
        Recording(make_recording(tmp_path / "r", [("store", 0, line("a"))])) as recording,
        CrashImage(recording) as image,
    ):
        image.advance(recording.end)

        def check():
            if image.view[0]:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            image.states.explore(check, "auto", 100, 0, 100, 0)
        assert image.view[0] == 0


def test_the_image_is_read_only_to_checks(tmp_path):
    with (
        Recording(make_recording(tmp_path / "r", [("store", 0, line("a"))])) as recording,
        CrashImage(recording) as image,
        pytest.raises(TypeError),
    ):
        image.view[0] = 1


def test_a_check_cannot_explore(tmp_path):
    with (
        Recording(make_recording(tmp_path / "r", [("store", 0, line("a"))])) as recording,
        CrashImage(recording) as image,
    ):
        image.advance(recording.end)
        *_, failures = image.states.explore(lambda: image.advance(2), "auto", 9, 0, 9, 0)
    assert isinstance(failures[0][1], RuntimeError)


def test_a_state_has_a_name(tmp_path):
    written = [("store", 0, line("a")), ("store", 0, line("b")), ("store", LINE, line("c"))]
    with Recording(make_recording(tmp_path / "r", written)) as recording, CrashImage(recording) as image:
        image.advance(recording.end)
        assert str(image.named((1, 0))) == "4:0x0=1,0x40=0"
        assert str(image.named((2, 1))) == "4"
        image.show(parse_state("4:0x0=1"))
        assert (image.view[0], image.view[LINE]) == (ord("a"), ord("c"))
        for wrong in (State(4, ((0, 3),)), State(4, ((128, 0),)), State(4, ((0, -1),))):
            with pytest.raises(UsageError, match="see the report"):
                image.show(wrong)
    with pytest.raises(UsageError, match="17:0x40=0"):
        parse_state("4:x")


def test_what_a_check_is_told_besides_makes_another_state(tmp_path):
    with (
        Recording(make_recording(tmp_path / "r", [("store", 0, line("a"))])) as recording,
        CrashImage(recording) as image,
    ):
        image.advance(recording.end)
        new = [image.states.explore(lambda: None, "auto", 9, 0, 9, salt)[1] for salt in (0, 0, 1)]
    assert new == [2, 0, 2]
