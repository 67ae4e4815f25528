"""What is known of a program before it is started."""

import errno
import os
import shutil
import struct
import subprocess

import pytest

from daxemu.launch import elf
from daxemu.launch.elf import ProgramNotFoundError, ProgramRefusedError, find_program, inspect_program

E_MACHINE = 18  # where it is in an ELF header


def reachable(program):
    return program.obstacle == program.remedy == ""


# -- finding ------------------------------------------------------------------------------------


def test_a_name_is_looked_up_in_the_given_path(executable):
    program = executable("program", "#!/bin/sh\n")

    assert find_program("program", f"/nowhere:{program.parent}") == program


def test_a_name_that_is_not_in_the_path_is_not_found(executable):
    executable("program", "#!/bin/sh\n")

    with pytest.raises(ProgramNotFoundError, match=r"^program: no such program in PATH$"):
        find_program("program", "/nowhere")


def test_a_relative_path_is_relative_to_the_program_s_directory(executable):
    program = executable("program", "#!/bin/sh\n")

    assert find_program("./program", directory=str(program.parent)).samefile(program)


@pytest.mark.parametrize("name", ["/no/such/program", "./program"])
def test_a_path_that_leads_nowhere_is_not_found(name):
    with pytest.raises(ProgramNotFoundError, match=f"^{name}: no such file$"):
        find_program(name, directory="/proc")


def test_the_errors_are_those_of_exec(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_program("/no/such/program")
    with pytest.raises(PermissionError):
        find_program(str(tmp_path))


# -- ELF ----------------------------------------------------------------------------------------


def test_a_dynamic_program_can_be_reached(built):
    program = inspect_program(built())

    assert reachable(program)
    assert (program.path, program.kind, program.libc) == (built(), "dynamic", "glibc")
    assert program.machine == os.uname().machine
    assert program.interpreter.is_file()


@pytest.mark.parametrize("flag", ["-static", "-static-pie"])
def test_a_static_program_cannot(built, flag):
    program = inspect_program(built(flag))

    assert (program.kind, program.interpreter, program.libc) == ("static", None, "")
    assert program.obstacle == "it is statically linked"
    assert program.remedy


def test_a_musl_program_is_known_as_such(built, tmp_path):
    program = tmp_path / "program"
    loader = str(inspect_program(built()).interpreter).encode()
    program.write_bytes(built().read_bytes().replace(loader, b"/lib/ld-musl.so".ljust(len(loader), b"\0"), 1))

    assert inspect_program(program).libc == "musl"


MACHINES = {"aarch64": 183, "x86_64": 62, "machine 2748": 2748}


@pytest.mark.parametrize("name", sorted(MACHINES.keys() - {os.uname().machine}))
def test_a_program_for_another_machine_cannot_be_reached(built, executable, name):
    content = bytearray(built().read_bytes())
    struct.pack_into("=H", content, E_MACHINE, MACHINES[name])

    program = inspect_program(executable("program", bytes(content)))

    assert program.machine == name
    assert program.obstacle == f"it is for another machine ({name})"


def test_a_program_of_another_word_size_is_for_another_machine(built, executable):
    content = bytearray(built().read_bytes())
    content[4] = 3 - content[4]  # EI_CLASS: 1 is 32 bit, 2 is 64 bit
    struct.pack_into("=H", content, E_MACHINE, 3)

    program = inspect_program(executable("program", bytes(content)))

    assert program.obstacle == "it is for another machine (i386)"


# -- privileges ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "who"), [(0o4755, "geteuid"), (0o2755, "getegid")])
def test_a_program_with_more_rights_than_its_caller_cannot_be_reached(built, executable, monkeypatch, mode, who):
    program = executable("program", built().read_bytes())
    program.chmod(mode)
    assert reachable(inspect_program(program))

    monkeypatch.setattr(os, who, lambda: 12345)
    monkeypatch.setattr(os, "getgroups", list)

    assert inspect_program(program).obstacle == "it is setuid, setgid or has file capabilities"


def test_a_setgid_program_of_one_of_the_caller_s_groups_can_be_reached(built, executable, monkeypatch):
    program = executable("program", built().read_bytes())
    program.chmod(0o2755)
    group = program.stat().st_gid

    monkeypatch.setattr(os, "getegid", lambda: group + 1)
    monkeypatch.setattr(os, "getgroups", lambda: [group])

    assert reachable(inspect_program(program))


@pytest.mark.parametrize(("caller", "expected"), [(0, True), (12345, False)])
def test_file_capabilities_are_an_obstacle_unless_the_caller_is_root(built, monkeypatch, caller, expected):
    monkeypatch.setattr(os, "getxattr", lambda _, name: b"\1" if name == "security.capability" else b"")
    monkeypatch.setattr(os, "geteuid", lambda: caller)

    assert reachable(inspect_program(built())) is expected


def test_a_file_system_without_capabilities_is_no_obstacle(built, monkeypatch):
    def refuse(path, name):
        raise OSError(errno.EOPNOTSUPP, "no attributes here")

    monkeypatch.setattr(os, "getxattr", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert reachable(inspect_program(built()))


# -- scripts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["#!/bin/sh", "#! /bin/sh -e", "#!/bin/sh\r"])
def test_a_script_is_as_reachable_as_what_runs_it(executable, line):
    script = executable("script", f"{line}\n")

    program = inspect_program(script)

    assert reachable(program)
    assert (program.path, program.kind, str(program.interpreter)) == (script, "script", "/bin/sh")


@pytest.mark.parametrize("line", ["env sh", "env -S sh -e", "env FOO=bar sh", "env -i PATH=/bin sh"])
def test_a_script_that_env_starts_is_run_by_what_env_finds(executable, line):
    program = inspect_program(executable("script", f"#!/usr/bin/{line}\n"))

    assert (program.kind, str(program.interpreter)) == ("script", shutil.which("sh"))


def test_a_script_of_a_static_interpreter_cannot_be_reached(executable, built):
    program = inspect_program(executable("script", f"#!{built('-static')}\n"))

    assert (program.kind, program.obstacle) == ("script", "it is statically linked")


def test_the_setuid_bit_of_a_script_is_nothing(executable, monkeypatch):
    script = executable("script", "#!/bin/sh\n")
    script.chmod(0o4755)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert reachable(inspect_program(script))


def test_a_script_of_a_script_is_run_by_the_program_at_the_end(executable):
    inner = executable("inner", "#!/bin/sh\n")
    outer = executable("outer", f"#!{inner}\n")

    program = inspect_program(outer)

    assert (program.path, str(program.interpreter)) == (outer, "/bin/sh")


def scripts(executable, number):
    path = "/bin/true"
    for n in range(number):
        path = executable(f"script{n}", f"#!{path}\n")
    return path


def test_scripts_are_followed_as_far_as_the_kernel_does(executable):
    longest = next(n for n in range(1, 20) if not runs(scripts(executable, n + 1)))

    assert reachable(inspect_program(scripts(executable, longest)))
    with pytest.raises(ProgramRefusedError, match="more often than the kernel follows"):
        inspect_program(scripts(executable, longest + 1))


def runs(path):
    try:
        return subprocess.run([path], check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("#!/no/such/interpreter", ProgramNotFoundError),
        ("#!/usr/bin/env no-such-interpreter", ProgramNotFoundError),
        ("#!/etc/passwd", ProgramRefusedError),
    ],
)
def test_a_script_without_its_interpreter_is_no_program(executable, line, error):
    with pytest.raises(error, match=r"no such|not an executable"):
        inspect_program(executable("script", f"{line}\n"))


# -- anything else ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "#", "#!", "#!\n", "echo hello\n", b"\x7fELF", b"MZ\x90\0"])
def test_an_executable_file_that_is_no_program_is_refused(executable, content):
    with pytest.raises(ProgramRefusedError, match="neither an ELF program nor a script with #!"):
        inspect_program(executable("program", content))


@pytest.mark.parametrize("length", [5, 20, 40, 63, 64, 100, 400])
def test_a_program_that_is_cut_off_is_refused(executable, built, length):
    with pytest.raises(ProgramRefusedError):
        inspect_program(executable("program", built().read_bytes()[:length]))


def test_a_program_that_may_be_executed_but_not_read_is_started_as_it_is(executable, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "not for you")

    monkeypatch.setattr(elf, "elf_facts", refuse)

    program = inspect_program(executable("program", "#!/bin/sh\n"))

    assert reachable(program)
    assert program.kind == "unreadable"
