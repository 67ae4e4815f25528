"""The events of a recording go from the memory that their writers share to the log's file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from daxemu._core import PmemLog
from daxemu.pmem import format as fmt
from daxemu.pmem.writer import pack_header

__all__ = ["Collector"]

_PAUSE = 0.05  # seconds
_TRIES = 20
_MUCH = 32 << 20  # bytes; short recordings stay in memory until they end
_SECONDS = 1  # of a recording that is kept: what is lost if its recorder is killed


class Collector:
    """Writes a log's file behind a recording, so that what is in memory does not grow with it.

    ``fd`` is the file, which the collector does not close. With ``kept``, which is called from time to time, what
    is in it is to be of use should this process be killed. ENOSPC: there is no room for its header.
    """

    def __init__(self, log: PmemLog, fd: int, size: int, kept: Callable[[], object] | None) -> None:
        self._log = log
        self._fd = fd
        self._size = size
        self._kept = kept
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._why = ""
        os.pwrite(fd, pack_header(size, 0), 0)
        self._thread = threading.Thread(target=self._collect_much, name="daxemu recording", daemon=True)
        self._thread.start()

    def _collect_much(self) -> None:
        collected = time.monotonic()
        while not self._ends.wait(_PAUSE):
            due = self._kept and time.monotonic() - collected >= _SECONDS
            if self._log.held() > (0 if due else _MUCH) and not self._why:
                self._collect(last=False)
                collected = time.monotonic()
            if due and self._kept:
                self._kept()

    def _collect(self, *, last: bool) -> None:
        with self._lock:
            try:
                self._log.collect(self._fd, last)
            except OSError as error:
                self._why = error.strerror or str(error)
                self._log.stop(fmt.STOPPED_FULL)

    def catch_up(self) -> tuple[str, int]:
        """Have all that was recorded until now in the file. Return why it is not, or empty, and where the file ends.

        Events that are being written meanwhile are waited for, but not for ever: their writer may have been killed.
        """
        for _ in range(_TRIES):
            if self._missing or not self._log.held():
                break
            self._collect(last=False)
            time.sleep(_PAUSE if self._log.held() else 0)
        else:
            self._collect(last=True)
        return self._missing, self._log.collected()[1]

    def forget(self) -> int:
        """Give back the room of all that is in the file; what comes is behind it. Return where that begins."""
        with self._lock:
            end = self._log.collected()[1]
            os.ftruncate(self._fd, 0)
            os.ftruncate(self._fd, end)
        return end

    @property
    def _missing(self) -> str:
        why = self._why or ("no memory is left for them" if self._log.stopped() == fmt.STOPPED_FULL else "")
        return why and f"{why}; those before are there"

    def finish(self) -> str:
        """End the recording and complete its file. Return why only the first events are in it; empty if all are."""
        self._log.stop(fmt.STOPPED_CLOSED)
        self._ends.set()
        self._thread.join()
        if not self._why:
            self._collect(last=True)
        count, end = self._log.collected()
        os.ftruncate(self._fd, end)
        os.pwrite(self._fd, pack_header(self._size, count), 0)
        return self._missing
