"""What a killed ``daxemu run`` leaves, and who removes it."""

import os
import select
import signal

import pytest

from .conftest import PATIENCE


@pytest.fixture
def running(start):
    """A run that ends with its input."""
    process = start("run", "--", "sh", "-c", "echo $$; exec cat")
    process.program = os.pidfd_open(int(process.stdout.readline()))
    yield process
    os.close(process.program)


def test_a_killed_daxemu_takes_its_program_along(running, daxemu):
    running.kill()

    assert select.select([running.program], [], [], PATIENCE)[0]
    running.wait()
    daxemu("gc")


def test_gc_removes_the_session_of_a_killed_daxemu(running, daxemu, sessions, runtime_dir):
    [session] = sessions()
    running.kill()
    running.wait()

    assert daxemu("gc").stdout == f"removed {session}\n"
    assert list(runtime_dir.iterdir()) == []


def test_the_next_run_removes_the_session_of_a_killed_daxemu(running, daxemu, sessions):
    [session] = sessions()
    running.kill()
    running.wait()

    assert daxemu("run", "--", "test", "-e", session).returncode == 1


def test_gc_leaves_running_sessions_alone(running, daxemu, sessions):
    before = sessions()

    assert daxemu("gc").stdout == "nothing to remove\n"
    assert sessions() == before
    assert len(before) == 1


def test_gc_leaves_stopped_sessions_alone(running, daxemu, sessions):
    running.send_signal(signal.SIGSTOP)

    assert daxemu("gc").stdout == "nothing to remove\n"
    running.send_signal(signal.SIGCONT)
    running.stdin.close()
    assert running.wait(timeout=PATIENCE) == 0
