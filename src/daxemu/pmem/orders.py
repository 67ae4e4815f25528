"""Orders: which of the states at a crash point are tried. Those of pmreorder go by its names too.

What they do is in C (native/core/crash_orders.c).
"""

from __future__ import annotations

from daxemu.errors import UsageError

__all__ = ["ORDERS", "parse_order"]

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
    """Return our name of an order, given that or pmreorder's, in whatever case. UsageError: there is no such order."""
    if text.lower() not in _NAMES:
        raise UsageError(f"order {text!r}: say {', '.join(ORDERS)}, or as pmreorder does: {ORDERS['partial']}")
    return _NAMES[text.lower()]
