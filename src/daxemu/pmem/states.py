"""The images that a power failure may have left, made one after the other in one mapping."""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack
from typing import NamedTuple

from daxemu._core import CrashStates, copy_changes
from daxemu.errors import UsageError
from daxemu.pmem.minimise import Choice
from daxemu.pmem.reader import Recording

__all__ = ["CrashImage", "State", "parse_state"]


class State(NamedTuple):
    """A state by name: the crash point, and what lines hold that are not as new as they could be.

    0 stands for what is durable, 1 and up for the stores since then. ``str`` is what ``parse_state`` reads.
    """

    point: int
    lines: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.point}" + (":" + ",".join(f"{at:#x}={n}" for at, n in self.lines) if self.lines else "")


def parse_state(text: str) -> State:
    """Return the state of this name, as a report gives it: ``17``, or ``17:0x40=0,0x80=1``. UsageError: it is none."""
    point, _, rest = text.partition(":")
    try:
        pairs = [pair.split("=") for pair in rest.split(",") if pair]
        return State(int(point), tuple((int(at, 0), int(number)) for at, number in pairs))
    except ValueError:
        raise UsageError(
            f"state {text!r} is none; write the event before which the power fails, and what lines hold then: "
            "17:0x40=0,0x80=1"
        ) from None


class CrashImage:
    """The image of a device, whose state can be chosen. A context manager.

    It is in memory of its own: ``fd`` leads to it, ``view`` shows it for reading.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.point = 0
        self._pending: list[tuple[int, tuple[tuple[int, int, bool], ...]]] | None = None
        with ExitStack() as undo:
            base = recording.open_base()
            undo.callback(os.close, base)
            self.fd = os.memfd_create("daxemu crash image", os.MFD_CLOEXEC)
            os.truncate(self.fd, recording.size)
            copy_changes(base, self.fd, recording.size)
            self._image = mmap.mmap(self.fd, recording.size)
            self.view = memoryview(self._image).toreadonly()
            self.states = CrashStates(self._image, recording.bytes_of_events, recording.eadr)

    def __enter__(self) -> CrashImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give its memory back, unless somebody still has a view of it."""
        del self.states
        os.close(self.fd)

    def advance(self, point: int) -> None:
        """Go on to a later crash point: just before the event of this number."""
        self.states.advance(point)
        self.point = point
        self._pending = None

    @property
    def pending(self) -> list[tuple[int, tuple[tuple[int, int, bool], ...]]]:
        """The lines that are not durable: offset, and (seq, site, observed) of each store since, the oldest first."""
        if self._pending is None:
            self._pending = self.states.pending()
        return self._pending

    @property
    def newest(self) -> Choice:
        """The state in which nothing is missing."""
        return tuple(len(versions) for _, versions in self.pending)

    def named(self, choice: Choice) -> State:
        """The name of a state at this point."""
        return State(
            self.point,
            tuple(
                (offset, number)
                for (offset, versions), number in zip(self.pending, choice, strict=True)
                if number != len(versions)
            ),
        )

    def advance_to(self, state: State) -> Choice:
        """Go on to the crash point of this state, and return which it is there. UsageError: there is none such."""
        if not 1 <= state.point <= self._recording.end:
            raise UsageError(
                f"state {state}: the recording has events 1 to {self._recording.nr_events}; see the report"
            )
        self.advance(state.point)
        numbers = dict(state.lines)
        choice = tuple(numbers.pop(offset, len(versions)) for offset, versions in self.pending)
        if numbers or not all(0 <= number <= most for number, most in zip(choice, self.newest, strict=True)):
            raise UsageError(f"state {state}: lines that are not pending there, or no such store; see the report")
        return choice

    def show(self, state: State) -> None:
        """Have the image be a state, of this crash point or a later one. UsageError: there is none such."""
        self.states.choose(self.advance_to(state))
