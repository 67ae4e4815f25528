"""Orders by name: ours, and those of pmreorder."""

import pytest

from daxemu.errors import UsageError
from daxemu.pmem import Recording, explore
from daxemu.pmem.orders import ORDERS, parse_order
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
        ("NoReorderNoCheck", 0, 1),
    ],
)
def test_an_order_tries_so_many_states(written, name, states, sampled):
    result = explore(written, lambda _: None, order=name, limit=12)
    assert (result.states, result.sampled, result.order) == (states, sampled, parse_order(name))


def test_full_refuses_more_than_the_limit_before_any_check(written):
    called = []
    with pytest.raises(UsageError, match="12 states before event 5, and the limit is 11; give a higher limit"):
        explore(written, called.append, order="full", limit=11)
    assert called == []


def test_an_unknown_order_is_refused(written):
    with pytest.raises(UsageError, match="order 'random': say auto, full, partial"):
        explore(written, bool, order="random")
