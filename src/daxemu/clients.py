"""Tells plugins of the programs that map devices: in order, and by a thread that serves none of them."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from daxemu.plugins import call_hook, hooks

if TYPE_CHECKING:
    from daxemu.engine import Engine

__all__ = ["ClientNews"]


class ClientNews:
    """What plugins hear of clients. Without a plugin nothing is queued and no thread is started."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._news: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, pid: int, *, attached: bool) -> None:
        """A process has begun to map devices, or has ended. Never waits."""
        if hooks() is None:
            return
        self._news.put(("daxemu_client_attached" if attached else "daxemu_client_detached", pid))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="daxemu-news", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (item := self._news.get()) is not None:
            name, pid = item
            call_hook(name, engine=self._engine, pid=pid)

    def close(self) -> None:
        """Tell what is still to be told, and end."""
        self._news.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
