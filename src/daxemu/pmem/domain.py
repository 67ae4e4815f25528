"""What of a device survives a power failure."""

from __future__ import annotations

import random
from collections.abc import Callable

from daxemu.errors import UsageError

__all__ = ["survivors"]


def survivors(policy: str | int) -> Callable[[int], int]:
    """What of a line with so many stores since it was durable survives: 0, what was, or one of the stores.

    Of ``none`` of the stores, of ``all``, or at random by a seed. UsageError: no such policy.
    """
    if policy == "none":
        return lambda _: 0
    if policy == "all":
        return lambda stores: stores
    if isinstance(policy, int):
        numbers = random.Random(policy)
        return lambda stores: numbers.randint(0, stores)
    raise UsageError(f"policy {policy!r}: give 'none', 'all', or a number as the seed of a random choice")
