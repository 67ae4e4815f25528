"""explore(): checks as callables and commands, what fails and how it is told."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Event

import pytest

from daxemu.errors import DaxemuError, UsageError
from daxemu.pmem import workers
from daxemu.pmem.explorer import explore
from daxemu.pmem.walker import Walker
from tests.pmem.recordings import LINE, line, make_recording

VALUE, FLAG = 0, LINE


def publish(number, *, flushed=True):
    """Write a value, make it durable, then set the flag that says so; wrong without the flush."""
    value, flag = line(f"value {number}"), line(f"flag {number}")
    yield "store", VALUE, value
    if flushed:
        yield "flush", VALUE, LINE, {"site": 1}
        yield "fence", {"site": 2}
    yield "store", FLAG, flag, {"site": 3}
    yield "flush", FLAG, LINE, {"site": 4}
    yield "fence", {"site": 5}
    yield "marker", f"published {number}"


def flag_has_its_value(memory):
    flag = bytes(memory[FLAG : FLAG + LINE])
    if not flag.startswith(b"flag "):
        return
    number = flag.rstrip(b".").split()[1]
    assert int(bytes(memory[VALUE : VALUE + LINE]).rstrip(b".").split()[1]) >= int(number), f"no value {number}"


def what_is_published_is_there(memory, markers):
    if markers:
        assert bytes(memory[FLAG : FLAG + 6]) >= f"flag {markers[-1].split()[1]}".encode(), "gone"


RIGHT = [*publish(1), *publish(2)]
WRONG = [*publish(1, flushed=False), *publish(2, flushed=False)]
CHECK = f"""
import os, sys
data = open(sys.argv[1], "r+b").read()
value, flag = data[:{LINE}].rstrip(b"."), data[{LINE}:{2 * LINE}].rstrip(b".")
if len(sys.argv) > 2: print(os.environ["DAXEMU_CRASH_POINT"], os.environ["DAXEMU_CRASH_MARKERS"])
if flag.startswith(b"flag") and not value.startswith(b"value"): sys.exit("flag without value")
"""


@pytest.fixture
def right(tmp_path):
    return make_recording(tmp_path / "right", RIGHT)


@pytest.fixture
def wrong(tmp_path):
    return make_recording(tmp_path / "wrong", WRONG)


def same(one, other):
    """Has the same come of both, whoever did it, and in how long a time?"""
    return replace(one, seconds=0, jobs=1) == replace(other, seconds=0, jobs=1)


def dies(memory):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_check_that_kills_its_process_is_told(wrong):
    with pytest.raises(DaxemuError, match="check dies: a process that tried it was killed"):
        explore(wrong, dies, jobs=2)


def test_a_right_program_never_fails(right):
    result = explore(right, flag_has_its_value)

    assert result.ok
    assert (result.points, result.failed, result.sampled, result.failures) == (5, 0, 0, [])
    assert result.states == 5  # nothing, a value, its flag, the next value, its flag


def test_a_wrong_program_fails_where_the_value_alone_is_missing(wrong):
    result = explore(wrong, flag_has_its_value)

    assert not result.ok
    first = result.failures[0]
    assert str(first.state) == f"4:{VALUE:#x}=0"
    assert [(line.offset, line.holds, line.stores, line.seq) for line in first.missing] == [(VALUE, 0, 1, 1)]
    assert re.fullmatch(r"IndexError: list index out of range \(test_explore\.py:\d+\)", first.reason)


@pytest.mark.parametrize("points", ["fences", "flushes", 1])
def test_all_crash_points_find_it(wrong, points):
    assert not explore(wrong, flag_has_its_value, points=points).ok


def test_markers_are_handed_to_a_check_that_takes_them(right, tmp_path):
    assert explore(right, what_is_published_is_there).ok
    early = [*RIGHT[:-1], ("marker", "published 3")]
    result = explore(make_recording(tmp_path / "early", early), what_is_published_is_there)
    assert [failure.reason.split(" (")[0] for failure in result.failures] == ["AssertionError: gone"]
    assert result.failures[0].missing == ()
    assert result.failures[0].markers == ("published 1", "published 3")


def test_a_limit_samples(tmp_path):
    written = [("store", i * LINE, line(str(i))) for i in range(30)]
    result = explore(make_recording(tmp_path / "r", written), lambda memory: memory[29 * LINE] != 0, limit=70)
    assert (result.sampled, result.states) == (1, 70)
    assert [missing.offset for missing in result.failures[0].missing] == [29 * LINE]


def test_a_large_failure_is_minimised(tmp_path):
    written = [("store", i * LINE, line("x")) for i in range(64)]
    wanted = {5 * LINE, 17 * LINE, 40 * LINE}

    def check(memory):
        return any(memory[at] for at in wanted)

    result = explore(make_recording(tmp_path / "r", written), check, limit=500)
    assert {missing.offset for missing in result.failures[0].missing} == wanted


class Unsteady:
    """A check that fails the first time it sees certain states, given by the bytes of their first lines that differ."""

    def __init__(self, once=(), always=()):
        self.once, self.always, self.tried = set(once), set(always), []

    def __call__(self, memory):
        state = bytes(memory[0 : 4 * LINE : LINE]).decode().replace("\0", ".")
        self.tried.append(state)
        return state not in self.always and (state not in self.once or self.tried.count(state) > 1)


ABC = [("store", i * LINE, line(text)) for i, text in enumerate("abc")]


def test_what_passes_the_second_time_has_failed_and_is_unsteady(tmp_path):
    check = Unsteady(once=["a...", "..c."])
    result = explore(make_recording(tmp_path / "r", ABC), check)

    assert (result.ok, result.states, result.failed) == (False, 8, 2)
    [failure] = result.failures
    assert (failure.unsteady, failure.reason) == (True, "the check answered False")
    assert len(failure.missing) == 2
    assert len(check.tried) == 8 + 2  # no tries to have less missing


@pytest.mark.parametrize(
    ("always", "most"), [(["abc."], 1), ([".bc.", "a.c."], 2 + 1), (["a..."], 1 + 3)], ids=["none", "one", "two"]
)
def test_a_steady_failure_is_tried_no_more_than_it_needs(tmp_path, always, most):
    """Once more as it is; then those with fewer lines missing, of which none fails here."""
    check = Unsteady(always=always)
    [failure] = explore(make_recording(tmp_path / "r", ABC), check).failures

    assert not failure.unsteady
    assert len(check.tried) <= 8 + most


def test_a_steady_failure_is_not_hidden_by_unsteady_ones_with_less_missing(tmp_path):
    check = Unsteady(once=["abc.", "ab.."], always=["a..."])
    [failure] = explore(make_recording(tmp_path / "r", ABC), check).failures

    assert not failure.unsteady
    assert [missing.offset for missing in failure.missing] == [LINE, 2 * LINE]
    assert failure.states == 3


def test_lines_are_not_spared_because_of_what_fails_once(tmp_path):
    """Of a state that was there already the check is asked again when lines are left out: it may fail only then."""
    written = [("store", i * LINE, line("x")) for i in range(4)]
    fails = {"x...": 9, "xx..": 1}  # how often

    def check(memory):
        state = bytes(memory[0 : 4 * LINE : LINE]).decode().replace("\0", ".")
        if state == "xx.." and not seen.get(state):
            seen[state] = 1  # passes first
            return True
        fails[state] = fails.get(state, 0) - 1
        return fails[state] < 0

    seen = {}
    [failure] = explore(make_recording(tmp_path / "r", written), check).failures
    assert [missing.offset for missing in failure.missing] == [LINE, 2 * LINE, 3 * LINE]


def test_steady_failures_come_first(tmp_path):
    written = [("store", 0, line("a")), ("flush", 0, 1), ("fence",), *ABC[1:]]
    result = explore(make_recording(tmp_path / "r", written), Unsteady(once=["a..."], always=["a.c."]))

    assert [(failure.unsteady, len(failure.missing)) for failure in result.failures] == [(False, 1), (True, 0)]


@pytest.mark.parametrize("state", [None, "2:0x0=0"])
def test_a_command_that_fails_once(tmp_path, state):
    path = make_recording(tmp_path / "r", ABC[:1])
    script = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; exit 11; }}"
    result = explore(path, ["sh", "-c", script, "{image}"], state=state)

    assert [(failure.unsteady, failure.reason) for failure in result.failures] == [(True, "exit status 11")]


def test_a_command_gets_a_file(right, wrong):
    command = [sys.executable, "-c", CHECK, "{image}"]
    assert explore(right, command).ok
    result = explore(wrong, command)
    assert result.failures[0].reason == "exit status 1: flag without value"
    again = explore(wrong, command, state=str(result.failures[0].state))
    assert (again.states, again.failed) == (1, 1)


@pytest.mark.parametrize(
    ("script", "why"),
    [("#!/nowhere/sh\n", "No such file or directory"), ("exit 1\n", "Exec format error"), ("", "Exec format error")],
)
@pytest.mark.parametrize("options", [{"jobs": 1}, {"jobs": 2}, {"state": "4"}])
def test_a_command_that_cannot_be_run_is_no_failure(wrong, tmp_path, script, why, options):
    (tmp_path / "check").write_text(script)
    (tmp_path / "check").chmod(0o755)
    with pytest.raises(UsageError, match=rf"check .*/check {{image}} could not be run: .*{why}"):
        explore(wrong, [tmp_path / "check", "{image}"], **options)


def test_a_command_is_told_point_and_markers(wrong):
    result = explore(wrong, ["sh", "-c", 'echo "$DAXEMU_CRASH_POINT $DAXEMU_CRASH_MARKERS"; exit 3', "{image}"])
    assert [failure.reason for failure in result.failures] == [
        "exit status 3: 4",
        "exit status 3: 9 published 1",
        "exit status 3: published 2",
    ]


def test_a_command_gets_a_device_and_keeps_what_it_writes_to_itself(tmp_path):
    program = (
        "import mmap, os\n"
        "memory = mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 1 << 21)\n"
        "assert memory[4096] == 0, 'written by another'\n"
        "memory[4096] = 1\n"
        "assert memory[0] == 0 or memory[64] != 0, 'one without the other'\n"
    )
    for name, written, fails in (
        ("right", [("store", 64, line("b")), ("flush", 64, 1), ("fence",), ("store", 0, line("a"))], 0),
        ("wrong", [("store", 64, line("b")), ("store", 0, line("a"))], 1),
    ):
        result = explore(make_recording(tmp_path / name, written, size=2 << 20), [sys.executable, "-c", program])
        assert result.failed == fails
    assert result.failures[0].reason == "exit status 1: AssertionError: one without the other"
    assert [missing.offset for missing in result.failures[0].missing] == [64]


@pytest.mark.parametrize("where", ["{image}", "/dev/dax0.0"])
def test_what_a_command_leaves_running_ends_with_it(tmp_path, where):
    program = (
        "import mmap, os, sys\n"
        "memory = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 1 << 21)\n"
        "assert memory[4096] == 0, 'written by another'\n"
        "if os.fork() == 0:\n"
        "    while True:\n"
        "        memory[4096] = 1\n"
        "while memory[4096] == 0:\n"
        "    pass\n"
    )
    path = make_recording(tmp_path / "r", ABC, size=2 << 20)
    assert explore(path, [sys.executable, "-c", program, where]).failed == 0


@pytest.mark.parametrize(
    ("script", "reason"),
    [("kill -SEGV $$", "killed by SIGSEGV"), ("sleep 60", "it did not end within 0.2 seconds")],
)
def test_signal_and_time_out_fail(tmp_path, script, reason):
    path = make_recording(tmp_path / "r", [("marker", "here")])
    result = explore(path, ["sh", "-c", script, "{image}"], timeout=0.2)
    assert [failure.reason for failure in result.failures] == [reason]


def test_processes_share_the_points(wrong):
    assert same(explore(wrong, flag_has_its_value, jobs=2), explore(wrong, flag_has_its_value))


@pytest.mark.parametrize("where", ["{image}", "/dev/dax0.0"])
def test_any_executor_does(tmp_path, where):
    path = make_recording(tmp_path / "r", WRONG, size=2 << 20)
    with ThreadPoolExecutor(2) as executor:
        command = ["python3", "-c", CHECK.replace(".read()", f".read({2 * LINE})"), where]
        result = explore(path, command, executor=executor, jobs=2)
    assert same(result, explore(path, command))
    assert result.failed


def test_a_thread_that_fails_leaves_nothing_of_others(tmp_path, monkeypatch):
    """One cannot begin while another is just beginning: that one ends too."""
    turns, failed = count(), Event()

    def make(task):
        if next(turns) == 0:
            raise RuntimeError("cannot begin")
        failed.wait(10)
        return Walker(task)

    monkeypatch.setattr(workers, "Walker", make)
    path = make_recording(tmp_path / "r", WRONG, size=2 << 20)
    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(RuntimeError, match="cannot begin"):
            explore(path, ["true", "/dev/dax0.0"], executor=executor, jobs=2)
        failed.set()
    assert workers._walkers == {}


def test_a_worker_says_nothing_of_two_signals_at_once():
    """As after Ctrl-C: SIGINT comes from the terminal, SIGTERM from the parent."""
    script = (
        "import os, signal\n"
        "from types import SimpleNamespace\n"
        "from daxemu.pmem import workers\n"
        "both = {signal.SIGINT, signal.SIGTERM}\n"
        "for number in both:\n"
        "    signal.signal(number, workers._end)\n"
        "workers._working = 'an exploration'\n"
        "workers._walkers['an exploration', 0] = SimpleNamespace(stop=print, ends_orderly=True)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, both)\n"
        "for number in both:\n"
        "    os.kill(os.getpid(), number)\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, both)\n"
        "print('ends')\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("\nends\n", "")


def test_progress_tells_how_far_it_is(right):
    told = []
    explore(right, flag_has_its_value, progress=lambda result, total: told.append((result.points, total)))
    assert told == [(n, 5) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"check": ["no-such-program-here", "{image}"]}, "no such program"),
        ({"check": "check {image}"}, "a command as a list"),
        ({"check": [], "limit": 1}, "a command as a list"),
        ({"limit": 0}, "at least one state"),
        ({"points": 0}, "1 or more"),
        ({"points": "all"}, "crash points 'all': say fences"),
        ({"points": "2"}, "crash points '2': say fences"),
        ({"jobs": 0}, "at least one"),
        ({"timeout": 0}, "more than 0 seconds"),
        ({"timeout": float("nan")}, "more than 0 seconds"),
        ({"timeout": float("inf")}, "at most"),
        ({"state": "3:0x40=7"}, "not pending"),
        ({"state": "99"}, "the recording has events 1 to"),
        ({"state": "0"}, "the recording has events 1 to"),
        ({"check": lambda: True}, r"give it one or two"),
        (
            {"check": lambda image, markers, more: (image, markers, more)},
            r"\(image, markers, more\): .* give it one or two",
        ),
        ({"check": lambda _: None, "jobs": 2}, "function of a module"),
    ],
)
def test_what_cannot_be_done_is_refused(right, arguments, text):
    with pytest.raises(UsageError, match=text):
        explore(right, **({"check": flag_has_its_value} | arguments))


def kinds(path):
    return {(f.kind, f.site): f.count for f in explore(path, bool).findings}


def test_findings_of_a_right_program_are_none(right):
    assert kinds(right) == {}


def test_findings(tmp_path):
    written = [
        ("store", 0, line("a"), {"site": 1}),  # never flushed
        ("store", 64, line("b"), {"site": 2}),
        ("flush", 64, 64, {"site": 3}),
        ("flush", 64, 64, {"site": 4}),  # no change
        ("flush", 60, 8, {"site": 5, "thread": 1}),  # line 0, by another thread that does not fence
        ("store", 64, line("c"), {"site": 6}),  # in flight
        ("flush", 64, 64, {"site": 7}),
        ("fence",),
        ("store", 128, line("d"), {"site": 8}),
        ("store", 128, line("e"), {"site": 8}),
    ]
    assert kinds(make_recording(tmp_path / "r", written)) == {
        ("flushed without change", 4): 1,
        ("not fenced", 5): 1,
        ("stored while in flight", 6): 1,
        ("never flushed", 8): 1,
    }
    assert kinds(make_recording(tmp_path / "eadr", written, domain="cpu_cache")) == {}


@pytest.mark.parametrize(("status", "fails"), [(None, False), (0, False), (1, True), ("no text", True)])
def test_a_check_that_exits_is_judged_by_its_status(tmp_path, status, fails):
    result = explore(make_recording(tmp_path / "r", RIGHT), lambda _: sys.exit(status))
    assert result.states > 1
    assert result.failed == (result.states if fails else 0)
    assert all(failure.reason.startswith(f"SystemExit: {status}") for failure in result.failures)
