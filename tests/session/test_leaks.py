"""Nothing stays behind, however either side ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daxemu import Engine
from daxemu.session.directory import sessions_root, sweep

HOLD = (
    "import mmap, os, time; m = mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 2 << 20);"
    "print('ready', flush=True); time.sleep(600)"
)


def children() -> set[int]:
    return {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and b"DAXEMU_TEST_MARK=1" in environ(entry)
    }


def environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


@pytest.fixture(autouse=True)
def marked(monkeypatch):
    """Everything that a test starts can be found again by its environment."""
    monkeypatch.setenv("DAXEMU_TEST_MARK", "1")


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_and_kill(victim: str) -> None:
    """Run a client that holds a mapping; SIGKILL the engine or the client."""
    run = subprocess.Popen(
        [sys.executable, "-m", "daxemu", "run", "--", sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout
    assert run.stdout.readline() == "ready\n"
    (client,) = {int(c) for c in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()}
    os.kill(client if victim == "client" else run.pid, signal.SIGKILL)
    run.wait(timeout=30)
    run.stdout.close()
    assert run.returncode == -signal.SIGKILL


def test_a_hundred_starts_and_kills_of_engine_and_client_leave_nothing():
    def in_shared_memory():
        # What multiprocessing has there is of a test beside this one, and may go at any time.
        found = (path for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.mp-"))
        return {path.name for path in found if path.stat().st_uid == os.getuid()}

    before = in_shared_memory()
    for turn in range(100):
        start_and_kill("client" if turn % 2 else "engine")

    wait_until(lambda: not children())
    sweep()
    assert not sessions_root().exists()
    assert in_shared_memory() <= before


def test_the_next_start_sweeps_what_a_killed_engine_left():
    start_and_kill("engine")
    assert len(list(sessions_root().iterdir())) == 1

    with Engine() as engine:
        engine.run(["true"], check=True)
        assert [path.name for path in sessions_root().iterdir()] == [Path(engine.environ()["DAXEMU_SESSION"]).name]


def test_a_running_session_is_not_swept():
    with Engine() as engine:
        session = Path(engine.environ()["DAXEMU_SESSION"])
        assert sweep() == []
        subprocess.run([sys.executable, "-m", "daxemu", "gc"], check=True, capture_output=True)
        assert session.is_dir()
    assert not session.exists()


def test_clients_of_an_engine_that_is_killed_end():
    code = f"""
import daxemu, os, signal, sys
engine = daxemu.Engine()
engine.add_region("4M")
client = engine.popen([sys.executable, "-c", {HOLD!r}], stdout=-1)
client.stdout.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)

    wait_until(lambda: not children())
    assert len(sweep()) == 1


def test_clients_of_an_engine_that_closed_go_on_without_their_device(compiled):
    with Engine() as engine:
        device = engine.add_region("4M").devices[0]
        client = engine.popen([compiled("mapper"), device.path, "2097152"], stdin=-1, stdout=-1, text=True, bufsize=1)
        assert client.stdout.readline().startswith("ok")
    client.stdin.write("r 0\no\n")
    client.stdin.flush()

    assert client.stdout.readline() == "SIGBUS 2 0\n"
    assert client.stdout.readline() in ("ENXIO\n", "ENOENT\n")
    client.stdin.close()
    assert client.wait(timeout=30) == 0
    client.stdout.close()


def test_an_engine_leaves_no_descriptor_thread_or_mapping():
    def state():
        return (
            len(os.listdir("/proc/self/fd")),
            len(os.listdir("/proc/self/task")),
            Path("/proc/self/maps").read_text().count("memfd:dax"),
        )

    def cycle():
        with Engine() as engine:
            device = engine.add_region("4M", provider="hmem").create_device("2M")
            with device.open() as file, file.mmap() as memory:
                memory[0:1] = b"x"
                engine.run(["true"], check=True)
                device.kill()
                device.revive()

    cycle()
    before = state()
    for _ in range(10):
        cycle()

    assert state() == before


def test_short_lived_clients_leave_nothing_in_the_engine(compiled):
    with Engine() as engine:
        device = engine.add_region("4M").devices[0]

        def cycle():
            engine.run([compiled("mapper"), device.path, "2097152"], input="w 0 1\n", text=True, check=True, stdout=-3)

        cycle()
        time.sleep(0.1)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(30):
            cycle()
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_forked_child_of_the_engines_process_removes_nothing():
    with Engine() as engine:
        session = Path(engine.environ()["DAXEMU_SESSION"])
        pid = os.fork()
        if pid == 0:
            engine.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert session.is_dir()
        engine.run(["true"], check=True)
