"""What a killed ``daxemu run`` leaves, and who removes it."""

import fcntl
import os
import select
import signal

import pytest

from daxemu.session.directory import SessionDirectory

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


def test_gc_leaves_a_session_that_is_being_made_alone(daxemu, monkeypatch):
    lock, said = fcntl.lockf, []

    def lock_after_gc(*arguments):
        said.append(daxemu("gc").stdout)
        lock(*arguments)

    monkeypatch.setattr(fcntl, "lockf", lock_after_gc)
    directory = SessionDirectory()

    assert said == ["nothing to remove\n"]
    assert directory.path.exists()
    directory.remove()


def test_gc_removes_what_was_left_by_a_daxemu_that_was_killed_at_its_start(daxemu, runtime_dir):
    half_made = runtime_dir / f"daxemu-{os.getuid()}" / "half-made"
    half_made.parent.mkdir(mode=0o700)
    half_made.mkdir(mode=0o700)
    assert daxemu("gc").stdout == "nothing to remove\n"

    os.utime(half_made, (0, 0))

    assert daxemu("gc").stdout == f"removed {half_made}\n"
