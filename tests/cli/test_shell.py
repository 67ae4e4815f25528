"""``daxemu shell``."""

import pytest

from .conftest import DAXEMU, PATIENCE
from .terminal import Terminal


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_shell_sees_the_devices_and_its_status_is_the_commands(daxemu, monkeypatch, shell):
    monkeypatch.setenv("SHELL", shell)

    result = daxemu("shell", "--region", "size=4M", input="ls /dev/dax0.0\nexit 3\n")

    assert result.returncode == 3
    assert result.stdout == "/dev/dax0.0\n"
    assert result.stderr == "daxemu: /dev/dax0.0 (4M); 'exit' ends the shell, and them with it\n"


def test_without_a_shell_of_the_users_it_is_sh(daxemu, monkeypatch):
    monkeypatch.delenv("SHELL", raising=False)

    assert daxemu("shell", input="exit 4\n").returncode == 4


def test_a_shell_in_a_session_leaves_it_running(daxemu, start, sessions):
    process = start("serve", "--session", "rig")
    process.stdout.readline()

    result = daxemu("shell", "--session", "rig", input="ls /dev/dax0.0; exit 5\n")

    assert (result.returncode, result.stdout) == (5, "/dev/dax0.0\n")
    assert "'exit' leaves them as they are" in result.stderr
    assert len(sessions()) == 1
    process.terminate()
    process.wait(PATIENCE)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_the_prompt_says_where_one_is(monkeypatch, shell):
    monkeypatch.setenv("SHELL", shell)

    with Terminal(*DAXEMU, "shell") as terminal:
        terminal.wait_for("daxemu: /dev/dax0.0 (64M); ")
        terminal.wait_for("(daxemu) ")
        terminal.type("exit 6\n")

        assert terminal.end() == 6
