"""From a state that fails to one that fails with the fewest lines missing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

__all__ = ["Choice", "minimise"]

Choice = tuple[int, ...]

_Only = Callable[[tuple[int, ...]], Choice]
_MOST_PAIRS = 300


def minimise(choice: Choice, newest: Choice, fails: Callable[[Choice], bool]) -> Choice:
    """Return a choice that fails as ``choice`` does, of which fewer lines are not ``newest``.

    Nothing missing, each missing line alone, and each pair if they are few are tried: then there is none
    with fewer. From more lines as many are taken as can be; none of those that are left can be spared.
    """
    missing = [i for i, number in enumerate(choice) if number != newest[i]]

    def only(lines: tuple[int, ...]) -> Choice:
        return tuple(choice[i] if i in lines else number for i, number in enumerate(newest))

    for count in range(3):
        if count >= len(missing):
            return choice
        if count == 2 and len(missing) * (len(missing) - 1) // 2 > _MOST_PAIRS:
            break
        for lines in combinations(missing, count):
            if fails(only(lines)):
                return only(lines)
    return _without_parts(missing, only, fails)


def _without_parts(missing: list[int], only: _Only, fails: Callable[[Choice], bool]) -> Choice:
    """Leave out halves, quarters, … and at last single lines, as long as it still fails."""
    left = tuple(missing)
    size = len(left) // 2
    while size:
        at = 0
        while at < len(left):
            fewer = left[:at] + left[at + size :]
            if fails(only(fewer)):
                left = fewer
            else:
                at += size
        size = min(size, len(left)) // 2
    return only(left)
