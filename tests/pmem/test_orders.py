"""Orders by name: ours, and those of pmreorder."""

import pytest

from daxemu.errors import UsageError
from daxemu.pmem import Recording, explore
from daxemu.pmem.orders import ORDERS, parse_order
from daxemu.pmem.report import summary
from daxemu.pmem.states import CrashImage
from tests.pmem.recordings import LINE, line, make_recording


@pytest.fixture
def written(tmp_path):
    """Four stores to three lines: 2 · 2 · 3 states."""
    stores = [(0, "a"), (1, "b"), (2, "c"), (0, "d")]
    return make_recording(tmp_path / "r", [("store", at * LINE, line(name)) for at, name in stores])


def test_every_order_is_one_in_c(written):
    with Recording(written) as recording, CrashImage(recording) as image:
        for order in ORDERS:
            image.states.explore(None, order, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("name", "states", "sampled"),
    [
        ("auto", 12, 0),
        ("full", 12, 0),
        ("ReorderFull", 12, 0),
        ("reorderpartial", 3, 1),
        ("accumulative", 5, 1),
        ("ReorderReverseAccumulative", 4, 1),
        ("NoReorderDoCheck", 1, 1),
        ("NoReorderNoCheck", 0, 0),
    ],
)
def test_an_order_tries_so_many_states(written, name, states, sampled):
    result = explore(written, lambda _: None, order=name, limit=12)
    assert (result.states, result.sampled, result.order) == (states, sampled, parse_order(name))
    assert result.untried == (states == 0)


def test_full_refuses_more_than_the_limit_before_any_check(written):
    called = []
    with pytest.raises(UsageError, match="12 states before event 5, and the limit is 11; give a higher limit"):
        explore(written, called.append, order="full", limit=11)
    assert called == []


def test_an_unknown_order_is_refused(written):
    with pytest.raises(UsageError, match="order 'random': say auto, full, partial"):
        explore(written, bool, order="random")


@pytest.fixture
def sections(tmp_path):
    """Five times two lines are persisted: the second to the fourth time in a section, the third in one within."""
    around = {2: "out.BEGIN", 3: "in.BEGIN", 4: "in.END", 5: "out.END"}
    written = [
        event
        for turn in range(1, 6)
        for event in (
            *([("marker", around[turn])] if turn in around else []),
            *(("store", at * LINE, line(f"{at} {turn}")) for at in (0, 1)),
            ("persist", 0, 2 * LINE),
        )
    ]
    return make_recording(tmp_path / "r", written)


@pytest.mark.parametrize(
    ("order", "states", "told"),
    [
        ("no-check,out=full", 4 + 3 + 3, "(3 of them not tried)"),
        ("no-check,out=NoReorderDoCheck,in=ReorderFull", 1 + 3 + 1, "(2 of them sampled, 3 of them not tried)"),
        ("in=no-check", 4 + 3 + 0 + 4 + 3, "(1 of them not tried)"),
        ("no-check,in=full", 4, "(5 of them not tried)"),
    ],
)
def test_a_section_may_have_an_order_of_its_own(sections, order, states, told):
    """Where all states are tried, the one that has nothing of them was there before."""
    result = explore(sections, lambda _: True, order=order)

    assert result.states == states
    assert result.points == 6
    assert told in summary(result)


def test_what_is_no_section_is_refused(sections):
    with pytest.raises(UsageError, match=r"no marker 'commit\.BEGIN'; it has in, out"):
        explore(sections, bool, order="no-check,commit=full")
    with pytest.raises(UsageError, match="say how to try a section once, as in no-check,commit=full"):
        explore(sections, bool, order="in=full,in=partial")
    with pytest.raises(UsageError, match="order 'random': say auto"):
        explore(sections, bool, order="in=random")


def test_names_of_orders_and_sections_become_ours():
    assert parse_order("in=ReorderFull") == "auto,in=full"
    assert parse_order("NoReorderNoCheck,a=b=Partial") == "no-check,a=b=partial"
