"""Kmsg: the emulated kernel's log."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, overload

__all__ = ["Kmsg", "KmsgRecord"]

_MOST = 4096


class KmsgRecord(NamedTuple):
    """One line of the log.

    ``level`` is syslog's: 3 an error, 4 a warning, 6 information; ``seconds`` the time since the
    engine was made. As a text it looks as in dmesg.
    """

    level: int
    text: str
    seconds: float

    def __str__(self) -> str:
        return f"[{self.seconds:12.6f}] {self.text}"


class Kmsg(Sequence[KmsgRecord]):
    """The emulated kernel's log: a sequence of records, the oldest first; of the last 4096.

    Every line is there: unlike the kernel's, the log is not rate-limited.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._records: deque[KmsgRecord] = deque(maxlen=_MOST)
        self._written = 0  # lines ever
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> KmsgRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[KmsgRecord]: ...
    def __getitem__(self, index: int | slice) -> KmsgRecord | list[KmsgRecord]:
        with self._changed:
            return list(self._records)[index] if isinstance(index, slice) else self._records[index]

    def __repr__(self) -> str:
        return "\n".join(map(str, self[:]))

    def _append(self, level: int, text: str) -> None:
        with self._changed:
            self._records.append(KmsgRecord(level, text, time.monotonic() - self._start))
            self._written += 1
            self._changed.notify_all()

    def follow(self) -> Iterator[KmsgRecord]:
        """Give every record, beginning with those there are, and wait for the next; ends when the engine is closed."""
        read = 0
        while True:
            with self._changed:
                while read == self._written and not self._closed:
                    self._changed.wait()
                fresh = min(self._written - read, len(self._records))
                records = list(islice(self._records, len(self._records) - fresh, None))
                read = self._written
            if not records:
                return
            yield from records

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
