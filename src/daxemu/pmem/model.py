"""The reference model of crash states: every image that a power failure may leave, by brute force.

It is written to be right at a glance, not to be fast; the explorer in C is tested against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from daxemu.pmem.format import LINE_SIZE
from daxemu.pmem.reader import Event, EventType

__all__ = ["crash_states"]


Stores = list[tuple[int, int, bytes]]  # number, line, what it then holds


def _subsets(stores: Stores, order: str) -> list[Stores]:
    """Which stores are taken together."""
    counts = range(len(stores) + 1)
    return {
        "accumulative": [stores[:n] for n in counts],
        "reverse-accumulative": [stores[len(stores) - n :] for n in counts],
        "no-reorder": [stores],
        "no-check": [],
    }[order]


def crash_states(
    base: bytes, events: Iterable[Event], points: Iterable[int], *, eadr: bool = False, order: str = "full"
) -> set[bytes]:
    """Return all images that may be left by a crash just before any event of these sequence numbers.

    Of each line of 64 bytes may be there what is durable, or what any store since then has made of it. An order has
    only those with certain stores.
    """
    wanted = set(points)
    durable = {at: base[at : at + LINE_SIZE] for at in range(0, len(base), LINE_SIZE)}
    newer: dict[int, list[tuple[int, bytes]]] = {at: [] for at in durable}
    flushed: list[tuple[int, int, int]] = []  # thread, line, newest store of the line then
    found: set[bytes] = set()

    def crash() -> None:
        if order != "full":
            stores = sorted((number, at, data) for at in newer for number, data in newer[at])
            for taken in _subsets(stores, order):
                found.add(b"".join((durable | {at: data for _, at, data in taken}).values()))
            return
        choices = [[durable[at], *(data for _, data in newer[at])] for at in durable]
        found.update(b"".join(lines) for lines in product(*choices))

    seq = 0
    for event in events:
        seq = event.seq
        if seq in wanted:
            crash()
        if event.type == EventType.STORE:
            if eadr:
                durable[event.offset] = event.data
            else:
                newer[event.offset].append((seq, event.data))
        if event.type & EventType.FLUSH:
            flushed += [
                (event.thread, at, newer[at][-1][0])
                for at in durable
                if newer[at] and event.length and at < event.offset + event.length and event.offset < at + LINE_SIZE
            ]
        if event.type & EventType.FENCE:
            for thread, at, newest in flushed:
                if thread == event.thread:
                    for number, data in newer[at]:
                        if number <= newest:
                            durable[at] = data
                    newer[at] = [(number, data) for number, data in newer[at] if number > newest]
            flushed = [entry for entry in flushed if entry[0] != event.thread]
    if seq + 1 in wanted:
        crash()
    return found
