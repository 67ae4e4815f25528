"""``daxemu run`` in a terminal."""

import shlex
import signal
import sys

import pytest

from .conftest import DAXEMU, until
from .terminal import Terminal
from .test_run_signals import REPORTER

RUN = (*DAXEMU, "run", "--")
BASH = ("bash", "--norc", "--noprofile", "-i")


def test_standard_files_are_the_terminal():
    with Terminal(*RUN, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && exit 3") as terminal:
        assert terminal.end() == 3


def test_ctrl_c_ends_program_and_daxemu_by_sigint():
    with Terminal(*RUN, "sh", "-c", "echo ready; exec sleep 1000") as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")

        assert terminal.end() == -signal.SIGINT


def test_ctrl_c_reaches_the_program_once():
    with Terminal(*RUN, sys.executable, "-c", REPORTER) as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")
        terminal.wait_for("SIGINT")
        terminal.process.send_signal(signal.SIGRTMAX)
        terminal.wait_for("\r\nSIGRTMAX")

        assert terminal.end() == 0


def test_a_program_may_survive_ctrl_c():
    with Terminal(*RUN, "sh", "-c", "trap 'echo caught' INT; echo ready; read line; read line; exit 4") as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")
        terminal.wait_for("caught")
        terminal.type("\n\n")

        assert terminal.end() == 4


@pytest.mark.parametrize("leader", [(), (*BASH, "-c", '"$@"; exit $?', "bash")], ids=["leader", "member"])
def test_closing_the_terminal_hangs_the_program_up(leader, tmp_path, sessions):
    trace = tmp_path / "trace"
    script = f"trap 'echo hangup >{trace}; exit' HUP; echo ready; for n in $(seq 2000); do sleep 0.01; done"
    with Terminal(*leader, *RUN, "sh", "-c", script) as terminal:
        terminal.wait_for("ready")
        terminal.hang_up()
        until(lambda: not sessions())

    assert trace.read_text() == "hangup\n"


def test_the_window_has_its_size():
    with Terminal(*RUN, "sh", "-c", "read line; stty size") as terminal:
        terminal.resize(33, 77)
        terminal.type("\n")
        terminal.wait_for("33 77")

        assert terminal.end() == 0


def test_the_program_hears_of_a_new_window_size():
    with Terminal(*RUN, sys.executable, "-c", REPORTER) as terminal:
        terminal.wait_for("ready")
        terminal.resize(11, 22)
        terminal.wait_for("SIGWINCH")
        terminal.process.send_signal(signal.SIGRTMAX)

        assert terminal.end() == 0


def test_a_shell_under_daxemu_has_job_control():
    with Terminal(*RUN, *BASH) as terminal:
        terminal.type("sh -c 'echo sta\"\"rted; exec cat'\n")
        terminal.wait_for("started")
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        terminal.wait_for("\n$ ")
        terminal.type("fg\n")
        terminal.wait_for("exec cat")
        terminal.type("\x04")
        terminal.wait_for("$ ")
        terminal.type("exit 6\n")

        assert terminal.end() == 6


def test_a_job_under_daxemu_is_stopped_and_continued_by_the_shell():
    with Terminal(*BASH) as terminal:
        terminal.type(shlex.join([*RUN, "sh", "-c", 'echo sta""rted; exec cat']) + "\n")
        terminal.wait_for("started")
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        terminal.wait_for("\n$ ")
        terminal.type("fg\n")
        terminal.wait_for("exec cat")
        terminal.type("hello\n")
        terminal.wait_for("hello\r\nhello\r\n")
        terminal.type("\x04")
        terminal.wait_for("$ ")
        terminal.type("exit 6\n")

        assert terminal.end() == 6
