"""A terminal with somebody in front of it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
from types import TracebackType

import pytest

from tests.conftest import require

from .conftest import PATIENCE


class Terminal:
    """A command as the leader of a session with a terminal of its own."""

    def __init__(self, *command: str) -> None:
        self._master, slave = os.openpty()
        self.resize(24, 200)
        line = [require("setsid", "util-linux"), "--ctty", "--", *command]
        environment = os.environ | {"TERM": "dumb", "LC_ALL": "C", "PS1": "$ ", "HISTFILE": ""}
        self.process = subprocess.Popen(line, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        self._unread = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self.process.kill()
        self.process.wait()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until the text comes."""
        while text not in self._unread:
            if not select.select([self._master], [], [], PATIENCE)[0]:
                pytest.fail(f"no {text!r} but {self._unread!r}")
            try:
                self._unread += os.read(self._master, 4096).decode()
            except OSError:  # nobody has the terminal open any more
                pytest.fail(f"ended without {text!r}: {self._unread!r}")
        self._unread = self._unread.partition(text)[2]

    def resize(self, rows: int, columns: int) -> None:
        """Drag the corner of the window."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the window."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def end(self) -> int:
        """Wait for the command; its return code."""
        return self.process.wait(timeout=PATIENCE)
