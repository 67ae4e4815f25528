"""The command as its users call it: a program of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from daxemu import Engine
from tests.conftest import NOBODY, require

DAXEMU = (sys.executable, "-m", "daxemu")
PATIENCE = 30


def error_line(result: subprocess.CompletedProcess[str]) -> str:
    """What the one line on stderr says."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("daxemu: ")
    return lines[0].removeprefix("daxemu: ")


def until(condition: Callable[[], bool]) -> None:
    """Wait for what is about to happen."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.002)


def status_of(process: subprocess.Popen[str], options: int) -> int:
    """Wait status of a child that is about to change its state."""
    answers: list[tuple[int, int]] = []
    until(lambda: answers.append(os.waitpid(process.pid, options | os.WNOHANG)) or answers[-1][0] != 0)
    return answers[-1][1]


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """A test that waits for what never comes fails."""

    def fail(*_: object) -> None:
        raise TimeoutError(f"no end after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def daxemu() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call ``daxemu ARGUMENTS``."""

    def call(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
        options = {"capture_output": True, "text": True, "timeout": PATIENCE} | options
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([*DAXEMU, *arguments], check=False, **options)

    return call


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``daxemu ARGUMENTS`` with pipes for its stdin and stdout; after the test its input ends."""

    def end(process: subprocess.Popen[str]) -> None:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(timeout=PATIENCE)
        finally:
            process.kill()

    with ExitStack() as processes:

        def popen(*arguments: str | Path, **options) -> subprocess.Popen[str]:
            options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1} | options
            process = processes.enter_context(subprocess.Popen([*DAXEMU, *arguments], **options))
            processes.callback(end, process)
            return process

        yield popen


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A rig: its session is the only one, so the commands find it."""
    with Engine(session="rig") as machine:
        machine.add_region("4M")
        machine.add_region("16M", provider="hmem", idle=False)
        machine.environ()
        yield machine


@pytest.fixture
def sessions(runtime_dir) -> Callable[[], list[Path]]:
    """Directories of the sessions there are."""
    return lambda: sorted(runtime_dir.glob("daxemu-*/*"))


@pytest.fixture
def setuid_program(public_dir) -> str | Path:
    """A program that runs with the rights of another user."""
    if os.geteuid() != 0:
        return require("su", "util-linux")
    program = public_dir / "setuid"
    shutil.copy(require("true"), program)
    os.chown(program, NOBODY, NOBODY)
    program.chmod(0o4755)
    return program
