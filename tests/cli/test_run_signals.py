"""Signals that are sent to ``daxemu run``."""

import os
import signal
import subprocess
import sys

import pytest

from .conftest import PATIENCE, status_of

# Says which signals it gets, until the last of all.
REPORTER = """
import signal

waiting = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
print("ready", flush=True)
number = 0
while number != signal.SIGRTMAX:
    number = signal.sigwait(waiting)
    print(number.name, flush=True)
"""


@pytest.fixture
def reporter(start):
    process = start("run", "--", sys.executable, "-c", REPORTER)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGCONT", "SIGRTMIN"])
def test_a_signal_reaches_the_program_exactly_once(reporter, name):
    reporter.send_signal(signal.Signals[name])
    assert reporter.stdout.readline() == f"{name}\n"

    reporter.send_signal(signal.SIGRTMAX)

    assert reporter.communicate(timeout=PATIENCE)[0] == "SIGRTMAX\n"


def test_a_signal_that_was_sent_twice_arrives_twice(reporter):
    for number in (signal.SIGRTMIN, signal.SIGRTMIN, signal.SIGRTMAX):
        reporter.send_signal(number)

    assert reporter.communicate(timeout=PATIENCE)[0].split() == ["SIGRTMIN", "SIGRTMIN", "SIGRTMAX"]


def test_a_program_that_handles_sigterm_decides_how_it_ends(start):
    handler = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))"
    process = start("run", "--", sys.executable, "-c", f"{handler}; print('ready', flush=True); signal.pause()")
    assert process.stdout.readline() == "ready\n"

    process.terminate()

    assert process.wait(timeout=PATIENCE) == 9


@pytest.fixture
def reader(start):
    """A run that ends with status 5 after a line of input; a job of its own, as a shell makes it."""
    process = start("run", "--", "sh", "-c", "echo ready; read line; exit 5", process_group=0)
    assert process.stdout.readline() == "ready\n"
    return process


def test_daxemu_stops_and_continues_with_its_program(reader):
    reader.send_signal(signal.SIGTSTP)
    assert os.WIFSTOPPED(status_of(reader, os.WUNTRACED))

    reader.send_signal(signal.SIGCONT)
    assert os.WIFCONTINUED(status_of(reader, os.WCONTINUED))
    reader.stdin.write("\n")

    assert reader.wait(timeout=PATIENCE) == 5


def test_daxemu_stops_when_its_program_stops_itself(start):
    process = start("run", "--", "sh", "-c", "kill -STOP $$; exit 5", stdin=subprocess.DEVNULL)
    assert os.WIFSTOPPED(status_of(process, os.WUNTRACED))

    process.send_signal(signal.SIGCONT)

    assert process.wait(timeout=PATIENCE) == 5


def test_a_stopped_program_can_be_terminated(reader):
    reader.send_signal(signal.SIGTSTP)
    assert os.WIFSTOPPED(status_of(reader, os.WUNTRACED))

    reader.terminate()
    reader.send_signal(signal.SIGCONT)

    assert reader.wait(timeout=PATIENCE) == -signal.SIGTERM
