"""How ``daxemu run`` ends: as its program does, or with what a shell says of one that cannot be run."""

import shutil
import signal
import subprocess

import pytest

from tests.conftest import become, require

from .conftest import DAXEMU, error_line


@pytest.mark.parametrize("status", [0, 7, 255])
def test_the_exit_status_is_that_of_the_program(daxemu, status):
    assert daxemu("run", "--", "sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program", ""])
def test_a_program_that_is_not_there_is_127(daxemu, name):
    result = daxemu("run", "--", name)

    assert result.returncode == 127
    assert error_line(result).startswith(f"{name}: ")


def test_a_file_without_execute_permission_is_126(daxemu, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")

    result = daxemu("run", "--", program)

    assert result.returncode == 126
    assert error_line(result) == f"{program}: not an executable file; try chmod +x, or name its interpreter"


def test_a_directory_is_126(daxemu, tmp_path):
    result = daxemu("run", "--", tmp_path)

    assert result.returncode == 126
    assert "not an executable file" in error_line(result)


def test_a_file_that_is_no_program_is_126(daxemu, tmp_path):
    program = tmp_path / "program"
    program.write_text("echo hello\n")
    program.chmod(0o755)

    result = daxemu("run", "--", program)

    assert result.returncode == 126
    assert error_line(result) == f"{program}: neither an ELF program nor a script with #!"


def test_a_static_program_is_126_because_it_would_not_see_the_devices(daxemu):
    result = daxemu("run", "--", require("busybox", "busybox-static"), "true")

    assert result.returncode == 126
    assert "would not see the devices: it is statically linked; use a dynamically linked build" in error_line(result)


def test_a_setuid_program_is_126_because_the_loader_would_drop_the_library(daxemu, setuid_program):
    result = daxemu("run", "--", setuid_program)

    assert result.returncode == 126
    assert "it is setuid, setgid or has file capabilities; run a copy without them" in error_line(result)


@pytest.mark.parametrize(("user", "status"), [("root", 0), ("ordinary", 126)])
def test_a_setuid_root_program_runs_for_root_and_is_refused_to_others(public_dir, runtime_dir, user, status):
    become("root")
    program = public_dir / "setuid"
    shutil.copy(require("true"), program)
    program.chmod(0o4755)

    line = [*become(user), *DAXEMU, "run", "--", program]

    assert subprocess.run(line, capture_output=True, check=False).returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGSEGV, signal.SIGRTMIN])
def test_a_program_that_dies_by_a_signal_takes_daxemu_with_it(daxemu, number):
    result = daxemu("run", "--", "bash", "-c", f"kill -{number.value} $$")

    assert result.returncode == -number
    assert result.stderr == ""
