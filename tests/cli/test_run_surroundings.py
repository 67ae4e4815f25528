"""The program under ``daxemu run`` finds what it would find if it were started alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import DAXEMU

PRELOAD = Path(sys.modules["daxemu"].__file__).parent / "libdaxemu-preload.so"


def both(command, prefix=(), **options):
    """Run a command alone and under daxemu; two results."""
    options = {"capture_output": True, "stdin": subprocess.DEVNULL, "timeout": 60} | options
    run = [*DAXEMU, "run", "--"]
    return [subprocess.run([*prefix, *line], check=False, **options) for line in (command, [*run, *command])]


def variables(result):
    return dict(line.split(b"=", 1) for line in result.stdout.split(b"\0") if line)


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_CTYPE": "C"}, {"LC_ALL": "C.UTF-8"}, {}])
def test_the_environment_differs_in_two_variables(locale):
    given = {name: value for name, value in os.environ.items() if name not in {"LANG", "LC_ALL", "LC_CTYPE"}}
    odd = {"EMPTY": "", "LINES_OF_TEXT": "a\nb=c", "BYTES": os.fsdecode(b"\xff\xfe")}

    alone, emulated = map(variables, both(["env", "-0"], env=given | odd | locale))

    added = {name: emulated.pop(name) for name in (b"DAXEMU_SESSION", b"LD_PRELOAD")}
    alone.pop(b"LD_PRELOAD", None)
    assert emulated == alone
    assert added[b"LD_PRELOAD"].split()[0] == os.fsencode(PRELOAD)


def test_a_preload_library_of_the_user_stays_behind_ours():
    _, emulated = both(["env", "-0"], env=os.environ | {"LD_PRELOAD": "libm.so.6"})

    assert variables(emulated)[b"LD_PRELOAD"].split() == [os.fsencode(PRELOAD), b"libm.so.6"]


def test_the_working_directory_is_kept(daxemu, tmp_path):
    assert daxemu("run", "--", "pwd", cwd=tmp_path).stdout == f"{tmp_path}\n"


def test_arguments_arrive_unchanged_even_those_that_look_like_ours(tmp_path):
    arguments = ["", "two words", "--help", "--region", "size=1M", "--", b"\xff"]

    alone, emulated = both(["printf", "%s|", *arguments])

    assert emulated.stdout == alone.stdout == b"|two words|--help|--region|size=1M|--|\xff|"


def test_the_double_dash_may_be_left_out(daxemu):
    assert daxemu("run", "echo", "-n", "hello").stdout == "hello"


def test_stdin_stdout_and_stderr_are_the_program_s_own(daxemu):
    result = daxemu("run", "--", "sh", "-c", "cat; echo trouble >&2", input="a\nb\n")

    assert (result.stdout, result.stderr) == ("a\nb\n", "trouble\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_files_stay_closed(closed):
    script = ["sh", "-c", f'exec "$@" {closed}', "sh"]

    alone, emulated = both(["sh", "-c", "cat && echo done"], prefix=script, text=True)

    assert (emulated.returncode, emulated.stdout, emulated.stderr) == (alone.returncode, alone.stdout, alone.stderr)


def test_an_inherited_descriptor_reaches_the_program(daxemu):
    reader, writer = os.pipe()
    code = f"import os; os.write({writer}, b'hello')"

    daxemu("run", "--", sys.executable, "-c", code, pass_fds=(writer,))
    os.close(writer)

    with open(reader, "rb") as file:
        assert file.read() == b"hello"


def test_no_descriptor_of_daxemu_reaches_the_program():
    code = "import json, os; print(json.dumps(sorted(os.listdir('/proc/self/fd'))))"

    alone, emulated = both([sys.executable, "-c", code])

    assert json.loads(emulated.stdout) == json.loads(alone.stdout)


@pytest.mark.parametrize("ignored", ["", "INT", "INT HUP QUIT USR1"])
def test_ignored_and_blocked_signals_are_as_if_alone(ignored):
    script = ["sh", "-c", f'for name in {ignored}; do trap "" $name; done; exec "$@"', "sh"]

    alone, emulated = both(["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"], prefix=script, text=True)

    assert emulated.stdout == alone.stdout


def test_the_program_is_in_the_process_group_and_session_of_whoever_called(daxemu):
    code = "import os; print(os.getpgrp(), os.getsid(0), os.getppid())"

    group, session, parent = map(int, daxemu("run", "--", sys.executable, "-c", code).stdout.split())

    assert (group, session) == (os.getpgrp(), os.getsid(0))
    assert parent != os.getpid()


def test_limits_and_umask_are_kept():
    script = ["sh", "-c", 'umask 027; ulimit -n 345; ulimit -S -c 0; exec "$@"', "sh"]

    alone, emulated = both(["sh", "-c", "umask; ulimit -n; ulimit -c"], prefix=script, text=True)

    assert emulated.stdout == alone.stdout
    assert alone.stdout.split() == ["0027", "345", "0"]


def test_a_run_inside_a_run_has_its_own_devices(daxemu):
    inner = [*DAXEMU, "run", "--region", "size=6M", "--", *DAXEMU, "list", "--json"]

    devices = json.loads(daxemu("run", "--", *inner).stdout)

    assert [device["size"] for device in devices] == [6 << 20]


def test_the_kernels_log_can_be_printed(daxemu):
    result = daxemu("run", "--kmsg", "--", "sh", "-c", "exec 2>&-; echo bogus > /sys/bus/dax/uevent; echo here")
    assert result.stdout == "here\n"
    assert re.search(r"^\[ +\d+\.\d{6}\] synth uevent: /bus/dax: unknown uevent action string$", result.stderr, re.M)


def test_without_being_asked_nothing_is_printed(daxemu):
    assert "synth uevent" not in daxemu("run", "--", "sh", "-c", "echo bogus > /sys/bus/dax/uevent; true").stderr
