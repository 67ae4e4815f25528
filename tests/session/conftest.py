"""Client processes that do as they are told."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

import pytest

from daxemu import Engine

LENGTH = 4 << 20


class Client:
    """A running mapper (tests/programs/mapper.c)."""

    def __init__(self, launcher, command: list[str]) -> None:
        self.process = launcher.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.status, _, pid = self._line().partition(" ")
        self.pid = int(pid)

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def __call__(self, request: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self._line()

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture
def engine():
    with Engine() as machine:
        yield machine


@pytest.fixture
def device(engine):
    """A resizable device of 16 MiB."""
    return engine.add_region("16M", provider="hmem").create_device()


@pytest.fixture
def start(engine, compiled):
    """Start a client on a path, or by a command that ends up in one."""
    with ExitStack() as clients:

        def launch(path: str, *, via: list[str] | None = None, length: int = LENGTH) -> Client:
            command = via or [str(compiled("mapper")), path, str(length)]
            client = Client(engine, command)
            clients.callback(client.close)
            return client

        yield launch
