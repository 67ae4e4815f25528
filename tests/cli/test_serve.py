"""``daxemu serve``, and the commands that find its session by ``--session``."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import DAXEMU, PATIENCE, error_line


@pytest.fixture
def serve(start):
    """Start ``daxemu serve --json OPTIONS``; what it printed is in ``facts``. It is ended after the test."""
    served = []

    def begin(*options):
        process = start("serve", "--json", *options)
        served.append(process)
        process.facts = json.loads(process.stdout.readline())
        return process

    yield begin
    for process in served:
        process.terminate()
        process.wait(PATIENCE)


def test_what_it_prints_is_for_a_shell(start):
    process = start("serve", "--region", "size=4M", "--session", "rig")
    lines = [process.stdout.readline() for _ in range(4)]
    seen = subprocess.run(["sh", "-c", "".join(lines) + "ls -l /dev/dax0.0"], capture_output=True, text=True)
    process.terminate()

    assert lines[0].startswith("# daxemu: session rig, process ")
    assert lines[0].endswith(": /dev/dax0.0 (4M)\n")
    assert seen.stdout.startswith("crw"), seen.stderr
    assert process.wait(PATIENCE) == 0


def test_programs_come_and_go_and_find_what_the_one_before_has_left(serve, daxemu):
    process = serve("--session", "rig")
    write = "import mmap,os; m=mmap.mmap(os.open('/dev/dax0.0', 2), 2 << 20); m[:5] = b'hello'"
    read = "import mmap,os; m=mmap.mmap(os.open('/dev/dax0.0', 2), 2 << 20); print(m[:5])"

    daxemu("run", "--session", "rig", "--", DAXEMU[0], "-c", write)
    by_path = daxemu("run", "--session", process.facts["session"], "--", DAXEMU[0], "-c", read)

    assert by_path.stdout == "b'hello'\n", by_path.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_ends_in_order_and_leaves_nothing(serve, sessions, number):
    process = serve()
    assert [str(path) for path in sessions()] == [process.facts["session"]]

    process.send_signal(number)

    assert process.wait(PATIENCE) == 0
    assert sessions() == []


def test_what_a_killed_one_leaves_goes_with_the_next_of_that_name(serve, sessions):
    first = serve("--session", "rig")
    first.kill()
    first.wait(PATIENCE)
    assert sessions()

    second = serve("--session", "rig")

    assert second.facts["session"] == first.facts["session"]
    assert len(sessions()) == 1


def test_it_tells_by_a_descriptor_that_it_is_ready(start):
    read, write = os.pipe()
    process = start("serve", "--json", "--ready-fd", str(write), pass_fds=[write])
    os.close(write)

    with open(read) as ready:
        assert ready.read() == json.loads(process.stdout.readline())["session"] + "\n"
    process.terminate()


@pytest.mark.parametrize("fd", ["77", "0"])
def test_a_descriptor_that_cannot_be_told(daxemu, fd):
    with open(os.devnull) as readable:
        result = daxemu("serve", "--ready-fd", fd, stdin=readable)

    assert result.returncode == 2
    assert error_line(result).startswith(f"--ready-fd {fd}: ")


def test_a_name_is_taken_once(serve, daxemu):
    serve("--session", "rig")

    result = daxemu("serve", "--session", "rig")

    assert result.returncode == 2
    assert error_line(result) == "a session 'rig' is running; end it, or give this one another name"


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "-x", "n" * 21, "two words", "ä"])
def test_a_name_that_can_be_none(daxemu, name, sessions):
    result = daxemu("serve", f"--session={name}")

    assert result.returncode == 2
    assert "session name" in error_line(result)
    assert sessions() == []


def test_a_directory_of_somebody_else_is_no_session_and_stays(serve, daxemu, sessions, runtime_dir):
    serve()
    other = sessions()[0].parent / "other"
    other.mkdir(mode=0o755)
    try:
        result = daxemu("serve", "--session", "other")

        assert result.returncode == 2
        assert error_line(result).startswith(f"{other} exists; ")
    finally:
        other.rmdir()


@pytest.mark.parametrize("command", [("run", "--", "true"), ("shell",), ("list",), ("doctor",)], ids=lambda c: c[0])
def test_a_session_that_is_not_there(serve, daxemu, command, tmp_path):
    serve("--session", "rig")
    name, *rest = command

    by_name = daxemu(name, "--session", "nix", *rest)
    by_path = daxemu(name, "--session", tmp_path, *rest)

    assert error_line(by_name) == "no session 'nix' is running; there are: rig"
    assert error_line(by_path).startswith(f"session '{tmp_path}': No such file")
    assert (by_name.returncode, by_path.returncode) == (2, 2)


def test_a_session_that_has_ended(serve, daxemu):
    process = serve("--session", "rig")
    process.kill()
    process.wait(PATIENCE)

    result = daxemu("run", "--session", "rig", "--", "true")

    assert result.returncode == 2
    assert "has ended" in error_line(result)
    daxemu("gc")


def test_a_session_of_another_version(serve, daxemu):
    table = Path(serve("--session", "rig").facts["session"], "table")
    with table.open("r+b") as file:
        file.seek(8)
        file.write(b"\x63")

    result = daxemu("run", "--session", "rig", "--", "true")

    assert result.returncode == 2
    assert "made by another version of daxemu (protocol 99" in error_line(result)


def test_a_session_is_taken_as_it_is(serve, daxemu):
    serve("--session", "rig")

    result = daxemu("run", "--session", "rig", "--region", "size=4M", "--", "true")

    assert result.returncode == 2
    assert "leave out --region" in error_line(result)


@pytest.mark.parametrize(("cmd", "status"), [(("sh", "-c", "exit 7"), 7), (("nosuch",), 127), (("/etc/passwd",), 126)])
def test_the_exit_status_of_a_program_in_a_session(serve, daxemu, cmd, status):
    serve("--session", "rig")

    assert daxemu("run", "--session", "rig", "--", *cmd).returncode == status


def test_list_and_doctor_of_one_session(serve, daxemu):
    serve("--session", "one", "--region", "size=4M")
    two = serve("--session", "two", "--region", "size=8M")

    listed = json.loads(daxemu("list", "--json", "--session", "two").stdout)
    report = daxemu("doctor", "--session", "one").stdout

    assert [(device["size"], device["pid"]) for device in listed] == [(8 << 20, two.pid)]
    assert "answers" in report
    assert "4M" in report
    assert "8M" not in report


def test_a_state_outlives_a_rig_that_is_killed(serve, daxemu, tmp_path):
    state = str(tmp_path / "state")
    process = serve("--session", "rig", "--state", state, "--region", "size=16M,provider=hmem")
    change = "cd /sys/bus/dax/devices/dax0.0 && echo dax0.0 > driver/unbind && echo 8388608 > size"
    daxemu("run", "--session", "rig", "--", "sh", "-c", change)
    process.kill()
    process.wait()

    process = serve("--session", "rig", "--state", state)

    assert [(d["chardev"], d["size"]) for d in process.facts["devices"]] == [("dax0.0", 8 << 20)]


def test_a_state_that_has_a_machine_takes_no_other(serve, daxemu, tmp_path):
    state = str(tmp_path / "state")
    process = serve("--state", state, "--region", "size=4M")
    busy = daxemu("serve", "--state", state)
    process.terminate()
    process.wait(PATIENCE)
    other = daxemu("serve", "--state", state, "--region", "size=8M")

    assert (busy.returncode, other.returncode) == (2, 2)
    assert "is in use by another engine" in error_line(busy)
    assert "has a machine already: leave out --region" in error_line(other)
