"""Orders: which of the states at a crash point are tried. Those of pmreorder go by its names too.

What they do is in C (native/core/crash_orders.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from daxemu.errors import UsageError

if TYPE_CHECKING:
    from daxemu.pmem.reader import Recording

__all__ = ["ORDERS", "orders_at", "parse_order"]

# By our names, pmreorder's. A store is one that is not durable yet; a line holds the newest of its stores that are
# taken, as no cache lets an older one overtake it.
ORDERS = {
    "auto": "",  # all states up to the limit; of more a sample
    "full": "ReorderFull",  # all states; UsageError if they are more than the limit
    "partial": "ReorderPartial",  # three random ones
    "accumulative": "ReorderAccumulative",  # no store, the oldest, the oldest two, …
    "reverse-accumulative": "ReorderReverseAccumulative",  # no store, the newest, the newest two, …
    "no-reorder": "NoReorderDoCheck",  # all stores, that is one state
    "no-check": "NoReorderNoCheck",  # nothing
}
_NAMES = {name.lower(): ours for ours, theirs in ORDERS.items() for name in (ours, theirs) if name}


def parse_order(text: str) -> str:
    """Return an order in our names, given in those or pmreorder's, in whatever case.

    Behind it, or ``auto``, may be others for sections: ``no-check,commit=full``. UsageError: there is no such order.
    """
    first, *others = text.split(",")
    if "=" in first:
        first, others = "auto", [first, *others]
    sections: dict[str, str] = {}
    for part in others:
        section, _, order = part.rpartition("=")
        if not section or section in sections:
            raise UsageError(f"order {text!r}: say how to try a section once, as in no-check,commit=full")
        sections[section] = _our_name(order)
    return ",".join([_our_name(first), *(f"{section}={order}" for section, order in sections.items())])


def _our_name(text: str) -> str:
    if text.lower() not in _NAMES:
        raise UsageError(f"order {text!r}: say {', '.join(ORDERS)}, or as pmreorder does: {ORDERS['partial']}")
    return _NAMES[text.lower()]


def orders_at(order: str, recording: Recording, points: Sequence[int]) -> list[str]:
    """Return the order of each crash point: that of the innermost section it is in which has one.

    A section of this name begins with the marker ``name.BEGIN`` and ends with ``name.END``. UsageError: there is none.
    """
    usual, *parts = order.split(",")
    sections = dict(part.rsplit("=", 1) for part in parts)
    there = {text.removesuffix(".BEGIN") for _, text in recording.markers if text.endswith(".BEGIN")}
    for section in sections:
        if section not in there:
            shown = f"; it has {', '.join(sorted(there))}" if there else ""
            raise UsageError(f"order {order!r}: the recording has no marker '{section}.BEGIN'{shown}")
    found, inside, passed = [], [""], 0
    for point in points:
        before = recording.markers_before(point)
        for _, text in recording.markers[passed:before]:
            section, _, edge = text.rpartition(".")
            if section in sections and edge == "BEGIN":
                inside.append(section)
            elif edge == "END" and section in inside:
                del inside[-1 - inside[::-1].index(section)]
        passed = before
        found.append(sections.get(inside[-1], usual))
    return found
