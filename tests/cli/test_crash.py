"""daxemu crash: recordings are shown, and explored by commands."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from daxemu.pmem.journal import JOURNAL
from daxemu.pmem.points import crash_points
from daxemu.pmem.reader import Recording
from daxemu.session.directory import sweep
from tests.cli.conftest import PATIENCE, until
from tests.conftest import require_library
from tests.pmem.recordings import line, make_recording
from tests.pmem.test_explore import CHECK, RIGHT, WRONG, publish


def crash(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "daxemu", "crash", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def running(word):
    """Processes that have this in their arguments."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(word).encode() in (directory / "cmdline").read_bytes():
                found.append(directory.name)
    return found


@pytest.fixture
def wrong(tmp_path):
    return make_recording(tmp_path / "wrong", WRONG)


@pytest.fixture
def check(tmp_path):
    (tmp_path / "check.py").write_text(CHECK)
    return f"{sys.executable} {tmp_path / 'check.py'} {{image}}"


def test_a_right_program_ends_with_0(tmp_path, check):
    result = crash("explore", make_recording(tmp_path / "right", RIGHT), "--check", check, "--jobs", 1)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("No state fails: ")


def test_a_wrong_program_ends_with_1_and_its_state_can_be_tried_again_and_written(tmp_path, wrong, check):
    result = crash("explore", wrong, "--check", check, "--jobs", 2, "--json", "--html", tmp_path / "page.html")

    assert (result.returncode, result.stderr) == (1, "")
    first = json.loads(result.stdout)["failures"][0]
    assert first["reason"] == "exit status 1: flag without value"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")

    again = crash("explore", wrong, "--check", check, "--state", first["state"])
    assert again.returncode == 1
    assert again.stdout.startswith("1 of 1 state at 1 crash point fails")

    image = tmp_path / "image"
    assert crash("show", wrong, "--state", first["state"], "--image", image).returncode == 0
    assert image.read_bytes()[:128] == bytes(64) + line("flag 1")
    assert "name a new file" in crash("show", wrong, "--state", first["state"], "--image", image).stderr


def test_a_page_that_cannot_be_written_loses_nothing_else(wrong, check):
    result = crash("explore", wrong, "--check", check, "--jobs", 1, "--html", "/dev/full")

    assert result.returncode == 2
    assert "states at" in result.stdout
    assert result.stderr == "daxemu: --html /dev/full: No space left on device\n"


@pytest.mark.parametrize("arguments", [("show",), ("explore", "--check", "true {image}", "--jobs", 1)])
def test_what_cannot_be_told_is_no_answer(wrong, arguments):
    command = [sys.executable, "-u", "-m", "daxemu", "crash", *map(str, arguments), wrong]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, "daxemu: No space left on device\n")


def test_names_of_programs_may_be_any_bytes(tmp_path, check, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    path = make_recording(tmp_path / "wrong", WRONG, command=["caf\udce9"])
    page = tmp_path / "page.html"
    shown = subprocess.run([sys.executable, "-m", "daxemu", "crash", "show", path], capture_output=True, check=True)

    assert b"command caf\xe9\n" in shown.stdout
    assert crash("explore", path, "--check", check, "--jobs", 1, "--html", page).returncode == 1
    assert "caf\\udce9" in page.read_text()


def test_a_recording_is_shown(wrong):
    shown = crash("show", wrong).stdout

    assert "device dax0.0, 1M, memory_controller, 10 events" in shown
    assert "marker   published 1" in shown
    assert "never flushed: 1 time, first line 0x0 by event 6" in shown
    objects = [json.loads(text) for text in crash("show", wrong, "--json").stdout.splitlines()]
    with Recording(wrong) as recording:
        assert [found["event"] for found in objects] == [*range(1, recording.end)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--check", "true", "--points", "stores"], "say fences, flushes, markers"),
        (["--check", "'"], "No closing quotation"),
        (["--check", ""], "a command as a list"),
        (["--check", "no-such-program-here {image}"], "no such program"),
        (["--check", "no-such-program-here"], "no-such-program-here"),
        (
            ["--check", "true", "--html", "/nowhere/page.html"],
            "--html /nowhere/page.html: no file can be written there",
        ),
        (["--check", "true", "--html", "/tmp"], "--html /tmp: no file can be written there"),
    ],
)
def test_what_cannot_be_tried_ends_with_2(wrong, arguments, text):
    result = crash("explore", wrong, *arguments)

    assert result.returncode == 2
    assert text in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_recording_is_no_recording(tmp_path):
    result = crash("show", tmp_path)
    assert result.returncode == 2
    assert "make one by 'daxemu crash record'" in result.stderr


def test_what_was_killed_goes_on(tmp_path, wrong, check):
    whole = json.loads(crash("explore", wrong, "--check", check, "--jobs", 1, "--json").stdout)
    calls = tmp_path / "calls"
    slow = f"sh -c 'echo >> {calls}; test $(wc -l < {calls}) != 8 || kill -INT $PPID; exec {check}' {{image}}"
    slow = slow.replace("{image}' {image}", '"$0"\' {image}')
    stopped = crash("explore", wrong, "--check", slow, "--jobs", 1)
    assert stopped.returncode == 130
    assert stopped.stderr.startswith("daxemu: interrupted: ")
    command = shlex.split(stopped.stderr.partition("others: ")[2])
    assert command[:3] == ["daxemu", "crash", "explore"]
    result = crash(*command[2:], "--json", "--jobs", 1)
    assert (result.returncode, result.stderr) == (1, "")
    for name in ("points", "states", "failed", "findings"):
        assert json.loads(result.stdout)[name] == whole[name]


def test_a_run_that_was_kept_is_not_recorded_again(tmp_path):
    ran, kept = tmp_path / "ran", tmp_path / "kept"
    once = f"import mmap, os; os.open('{ran}', os.O_CREAT | os.O_EXCL)"
    script = f"{once}; mmap.mmap(os.open('/dev/dax0.0', 2), 1 << 21)[0] = 1"
    run = ("run", "--jobs", 1, "--check", "true {image}", "--keep", kept, "--scan", "none")
    program = (sys.executable, "-c", script)
    assert crash(*run, "--", *program).returncode == 0
    again = crash(*run, "--resume", "--", *program)
    assert (again.returncode, again.stderr) == (0, "")
    assert "another command" in crash(*run, "--resume", "--", "true").stderr
    assert "say by --keep DIR" in crash("run", "--check", "true {image}", "--resume", "--", "true").stderr
    meta = json.loads((kept / "meta.json").read_text())
    (kept / "meta.json").write_text(json.dumps(meta | {"cut_short": "the recorder was killed"}))
    cut = crash(*run, "--resume", "--", *program)
    assert (cut.returncode, "is cut short: the recorder was killed; remove it" in cut.stderr) == (2, True)
    assert crash("explore", kept, "--check", "true {image}").returncode == 0


QUEUE = Path(__file__).parents[2] / "examples/pmem_queue/queue.c"


def test_a_program_is_run_and_tried(tmp_path):
    require_library("libpmem.h", "libpmem-dev")
    program = tmp_path / "queue"
    subprocess.run(["gcc", "-g", "-o", program, QUEUE, "-lpmem"], check=True)
    check = ("--size", "4M", "--jobs", 1, "--check", f"{program} verify /dev/dax0.0")

    right = crash("run", *check, "--", program, "push", "/dev/dax0.0", "text")
    assert (right.returncode, right.stderr) == (0, "")
    assert right.stdout.startswith("No state fails: ")

    kept = tmp_path / "kept"
    wrong = crash("run", *check, "--keep", kept, "--json", "--", program, "hasty", "/dev/dax0.0", "text")
    assert (wrong.returncode, wrong.stderr) == (1, "")
    missing = [(line["offset"], line["site"]) for line in json.loads(wrong.stdout)["failures"][0]["missing"]]
    flush = next(n for n, line in enumerate(QUEUE.read_text().splitlines(), 1) if "pmem_flush" in line)
    assert missing == [(64, f"queue.c:{flush}")]
    assert f"queue.c:{flush}" in crash("show", kept).stdout


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("true", "true stored nothing to /dev/dax0.0"),
        ("no-such-program-here", "no such program"),
    ],
)
def test_what_cannot_be_run_ends_with_2(program, text):
    result = crash("run", "--check", "true {image}", "--", program)

    assert result.returncode == 2
    assert text in result.stderr
    assert result.stderr.count("\n") == 1


STORES = "import mmap, os, sys; m = mmap.mmap(os.open('/dev/dax0.0', 2), 1 << 21); m[int(sys.argv[1])] = 1"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--check", "'"], "No closing quotation"),
        (["--check", "no-such-program-here"], "no-such-program-here"),
        (["--check", "true", "--points", "often"], "crash points 'often'"),
        (["--check", "true", "--order", "any"], "order 'any'"),
        (["--check", "true", "--limit", "0"], "limit 0"),
        (["--check", "true", "--jobs", "0"], "jobs 0"),
        (["--check", "true", "--timeout", "0"], "timeout 0"),
        (["--check", "true", "--prepare", "'"], "--prepare"),
        (["--check", "true", "--prepare", "sh -c 'exit 3'"], "--prepare sh -c 'exit 3': it ended by exit status 3"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_the_program_runs(tmp_path, options, text):
    result = crash("run", *options, "--", "touch", tmp_path / "ran")

    assert result.returncode == 2
    assert text in result.stderr
    assert not (tmp_path / "ran").exists()


def test_what_prepares_the_device_is_not_recorded(tmp_path):
    check = "import sys; data = open(sys.argv[1], 'rb').read(128); sys.exit(not data[0])"
    prepare, program = ([sys.executable, "-c", STORES, offset] for offset in ("0", "64"))
    tried = shlex.join([sys.executable, "-c", check, "{image}"])
    run = ("run", "--jobs", 1, "--check", tried, "--keep", tmp_path / "kept")

    assert crash(*run, "--prepare", shlex.join(prepare), "--", *program).returncode == 0
    assert Recording(tmp_path / "kept").nr_events == 1


def test_how_the_program_ended_is_told(tmp_path):
    program = (sys.executable, "-c", f"{STORES}; os.abort()", "0")
    result = crash("run", "--jobs", 1, "--check", "true {image}", "--", *program)
    assert result.stderr == f"daxemu: {sys.executable} ended by SIGABRT; what it did until then is tried\n"


@pytest.mark.parametrize(
    ("jobs", "number"),
    [(jobs, number) for jobs in ("1", "2") for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)],
)
@pytest.mark.parametrize("where", ["{image}", "/dev/dax0.0"])
def test_an_interrupt_is_no_answer_and_leaves_no_check_behind(tmp_path, sessions, jobs, number, where):
    wrong = make_recording(tmp_path / "wrong", WRONG, size=2 << 20)
    pid, scratch = tmp_path / "pid", tmp_path / "scratch"
    scratch.mkdir()
    check = f"sh -c 'tail -f {wrong}/log & echo > {pid}; wait' {where}"
    command = [sys.executable, "-m", "daxemu", "crash", "explore", str(wrong), "--jobs", jobs, "--check", check]
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        until(pid.exists)
        process.send_signal(number)
        status = process.wait(PATIENCE)
        said = process.stderr.read()
    assert status == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}[number]
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert said == "daxemu: interrupted: nothing is kept to go on with\n"
    until(lambda: not running(tmp_path))
    until(lambda: not any(scratch.iterdir()))
    if number == signal.SIGKILL and jobs == "1" and where == "/dev/dax0.0":  # who comes next removes its session
        assert len(sessions()) == 1
        assert len(sweep()) == 1
    until(lambda: sessions() == [])


def test_a_run_that_is_killed_leaves_neither_program_nor_recording(tmp_path):
    scratch, ready = tmp_path / "scratch", tmp_path / "ready"
    scratch.mkdir()
    script = f"tail -f {tmp_path}/slow & echo > {ready}; wait"
    command = [sys.executable, "-m", "daxemu", "crash", "run", "--check", "true", "--", "sh", "-c", script]
    (tmp_path / "slow").touch()
    with subprocess.Popen(command, env=os.environ | {"TMPDIR": str(scratch)}) as process:
        until(ready.exists)
        assert [*scratch.glob("daxemu-crash-*/recording/log")]
        process.kill()
    until(lambda: not running(tmp_path))
    until(lambda: not any(scratch.iterdir()))
    assert len(sweep()) == 1


def test_an_interrupt_while_the_program_runs_is_no_answer(tmp_path):
    script = f"echo > {tmp_path}/ready; exec sleep 60"
    command = [sys.executable, "-m", "daxemu", "crash", "run", "--check", "true", "--", "sh", "-c", script]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        until((tmp_path / "ready").exists)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert (process.returncode, said) == (130, "")


def test_a_worker_that_is_killed_ends_it_and_what_was_done_is_kept(tmp_path):
    recording = make_recording(tmp_path / "r", [event for number in (1, 2, 3) for event in publish(number)])
    kills = "test $DAXEMU_CRASH_POINT != 17 || { sleep 0.3; kill -KILL $PPID; }"
    killed = crash("explore", recording, "--jobs", 2, "--check", f"sh -c '{kills}' {{image}}")
    assert killed.returncode == 2
    interrupted, told = killed.stderr.splitlines()
    assert re.match(r"daxemu: interrupted: \d of 7 crash points are kept; resume goes on", interrupted)
    assert told.endswith("a process that tried it was killed; perhaps there was no memory left")
    assert (recording / JOURNAL).exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_was_killed_for_good_goes_on_and_tries_nothing_again(tmp_path, check, jobs):
    written = [event for number in (1, 2, 3) for event in publish(number, flushed=False)]
    recording = make_recording(tmp_path / "r", written)
    tried, hangs, journal = tmp_path / "tried", tmp_path / "hangs", recording / JOURNAL
    (tmp_path / "slow").write_text(
        f"echo $DAXEMU_CRASH_POINT >> {tried}\n"
        f"if test -e {hangs} -a $DAXEMU_CRASH_POINT = 14; then exec sleep 1000; fi\n"
        f"sleep 0.03; exec {check.replace('{image}', '$1')}\n"
    )
    command = ("explore", recording, "--check", f"sh {tmp_path / 'slow'} {{image}}", "--jobs", jobs, "--json")
    whole = json.loads(crash(*command).stdout)
    tried.unlink()
    hangs.touch()
    with subprocess.Popen([sys.executable, "-m", "daxemu", "crash", *map(str, command)]) as process:
        until(lambda: tried.exists() and "14" in tried.read_text().split())
        until(lambda: journal.exists() and journal.read_text().count('"begin"') >= 2)
        process.kill()
    until(lambda: not running(tmp_path))
    hangs.unlink()
    with Recording(recording) as read:
        points = crash_points(read, "fences")
    done = {str(points[json.loads(entry)["begin"]]) for entry in journal.read_text().splitlines()[1:]}
    assert done & {*tried.read_text().split()}
    tried.unlink()

    result = crash(*command, "--resume")
    assert (result.returncode, result.stderr) == (1, "")
    assert json.loads(result.stdout) | {"seconds": 0} == whole | {"seconds": 0}
    assert not done & {*tried.read_text().split()}


PROMISES = r"""
import os, sys

promised = [int(line.split()[1]) for line in os.environ["DAXEMU_CRASH_MARKERS"].splitlines()]
with open(sys.argv[1], "rb") as image:
    there = int.from_bytes(image.read(8), "little")
sys.exit(there < max(promised, default=0))
"""


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["early"], 1)])
def test_a_program_leaves_markers_by_a_function_that_it_finds_here(compiled, tmp_path, arguments, status):
    require_library("libpmem.h", "libpmem-dev")
    (tmp_path / "check.py").write_text(PROMISES)
    program = compiled("promised", "-lpmem")
    check = f"{sys.executable} {tmp_path / 'check.py'} {{image}}"

    result = crash(
        "run", "--size", "2M", "--check", check, "--keep", tmp_path / "rec", "--", program, "/dev/dax0.0", *arguments
    )

    assert result.returncode == status, result.stderr
    with Recording(tmp_path / "rec") as recording:
        assert [text for _, text in recording.markers] == ["promised 1", "promised 2", "promised 3"]
    alone = subprocess.run([program, tmp_path / "none", *arguments], check=False)  # it starts without daxemu, too
    assert alone.returncode == 1


CALLS = """
import ctypes, errno

marker = ctypes.CDLL(None, use_errno=True).daxemu_marker
assert marker(b"from afar") == 0
assert marker(b"x" * 65536) == -1
assert ctypes.get_errno() == errno.EMSGSIZE
"""


def test_a_marker_of_a_process_that_has_no_device_is_there_and_one_that_is_too_long_is_refused(tmp_path):
    crash("record", "-o", tmp_path / "rec", "--", sys.executable, "-c", CALLS)
    with Recording(tmp_path / "rec") as recording:
        assert [text for _, text in recording.markers] == ["from afar"]
