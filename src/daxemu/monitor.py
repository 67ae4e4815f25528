"""Monitor: an engine's uevents as they come."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from daxemu.errors import KernelError

if TYPE_CHECKING:
    from daxemu.kernel.uevent import Uevent
    from daxemu.wiring import Wiring

__all__ = ["Monitor"]

_MOST = 16384


class Monitor:
    """The uevents of an engine from the monitor's making on, in order. Made by ``Engine.monitor``.

    A context manager. Iterating gives one event after the other, waits for each, and ends when the
    monitor or the engine is closed. Several threads may share one: each event goes to one of them.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._events: deque[Uevent] = deque()
        self._lost = 0
        self._closed = False
        self._changed = threading.Condition()
        wiring.monitors.append(self)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Uevent]:
        while (event := self.poll()) is not None:
            yield event

    def poll(self, timeout: float | None = None) -> Uevent | None:
        """Return the next event; wait for it, at most ``timeout`` seconds. None: there came none, or it is closed.

        ENOBUFS, once: nobody has read for so long that the oldest events were dropped.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not (self._events or self._lost or self._closed):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            if self._lost:
                lost, self._lost = self._lost, 0
                raise KernelError(errno.ENOBUFS, f"{lost} uevents were dropped: the monitor keeps {_MOST}")
            return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Receive no more; who waits is told. What has come can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self in self._wiring.monitors:
            self._wiring.monitors.remove(self)

    def _receive(self, event: Uevent) -> None:
        with self._changed:
            if len(self._events) == _MOST:
                self._events.popleft()
                self._lost += 1
            self._events.append(event)
            self._changed.notify()
