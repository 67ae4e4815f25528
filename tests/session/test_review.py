"""What went wrong once: forks at bad moments, few descriptors, foreign files, odd environments."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from daxemu import Engine
from daxemu.session.directory import sweep
from tests.session.conftest import Client

MAP = """
import ctypes, mmap, os, resource, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("/dev/dax0.0", os.O_RDWR)
m = mmap.mmap(fd, 2 << 20)
r, w = os.pipe()
def touch(memory):
    "1 if it can be read, -1 if that would be SIGBUS"
    return libc.write(w, ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory))), ctypes.c_size_t(1))
def wait():
    print("ready", flush=True)
    sys.stdin.readline()
"""


class Program:
    """A Python program that stops at ``wait()`` until it is told to go on."""

    def __init__(self, engine, code):
        self.process = engine.popen([sys.executable, "-c", MAP + code], stdin=-1, stdout=-1, text=True, bufsize=1)

    def reach(self):
        assert self.process.stdout.readline() == "ready\n"

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        output = self.process.communicate(timeout=60)[0]
        return output.split()


@pytest.fixture
def engine():
    with Engine() as machine:
        machine.add_region("4M")
        yield machine


@pytest.fixture
def start_mapper(engine, compiled):
    with ExitStack() as clients:

        def start(path):
            client = Client(engine, [str(compiled("mapper")), path, "2097152"])
            clients.callback(client.close)
            return client

        yield start


@pytest.mark.parametrize(
    "arrival",
    [
        "again = os.dup(fd)",
        "again = os.dup2(fd, 77)",
        "import fcntl; again = fcntl.fcntl(fd, fcntl.F_DUPFD, 50)",
        "again = os.open(f'/proc/self/fd/{fd}', os.O_RDWR)",
        "again = os.open(f'/dev/fd/{fd}', os.O_RDWR)",
        "import socket; a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [fd]);"
        "again = socket.recv_fds(b, 1, 1)[1][0]",
    ],
    ids=["dup", "dup2", "F_DUPFD", "proc-self-fd", "dev-fd", "SCM_RIGHTS"],
)
def test_a_descriptor_that_arrives_in_a_running_program_is_the_device(engine, arrival):
    code = f"""
m.close(); {arrival}
os.close(fd)
import stat
print(stat.S_ISCHR(os.fstat(again).st_mode))
try: os.read(again, 1)
except OSError as error: print(error.errno)
n = mmap.mmap(again, 2 << 20)
try: mmap.mmap(again, 4096)
except OSError as error: print(error.errno)
wait()
print(touch(n))
wait()
print(touch(n))
"""
    program = Program(engine, code)
    assert [program.process.stdout.readline().strip() for _ in range(3)] == ["True", "22", "22"]
    program.reach()
    engine.devices[0].kill()
    program.go_on()
    assert program.process.stdout.readline() == "-1\n"
    program.reach()
    engine.devices[0].revive()
    assert program.end() == ["1"]


def test_a_child_made_without_fork_handlers_is_revoked(engine):
    program = Program(engine, "if libc._Fork() == 0:\n    wait(); print(touch(m), flush=True); os._exit(0)\nos.wait()")
    program.reach()
    engine.devices[0].kill()
    assert program.end() == ["-1"]


def test_forks_while_devices_are_killed_and_revived_survive(engine):
    code = """
wait()
bad = 0
for _ in range(400):
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    bad += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 7
print(bad)
"""
    program = Program(engine, code)
    program.reach()
    done = threading.Event()

    def storm():
        while not done.is_set():
            engine.devices[0].kill()
            engine.devices[0].revive()

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        assert program.end() == ["0"]
    finally:
        done.set()
        thread.join()


def test_a_child_of_a_process_without_free_descriptors_lives(engine):
    code = """
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
try:
    while True: os.open("/dev/null", os.O_RDONLY)
except OSError: pass
pid = os.fork()
if pid == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert Program(engine, code).end() == ["7"]


def test_a_file_with_the_inode_number_of_an_unlinked_node_is_an_ordinary_file(engine, tmp_path):
    device = engine.devices[0]
    session = Path(engine.environ()["DAXEMU_SESSION"])
    placeholder = session / "dev" / device.name
    stray = session / "stray"
    os.link(placeholder, stray)  # the same inode, outside of /dev: as if it had been given to a file of the program
    engine.run(["rm", device.path], check=True)

    shown = engine.run(["stat", "-c", "%F", str(stray)], capture_output=True, text=True, check=True).stdout
    engine.run(f"echo hello > {stray}", shell=True, check=True)

    assert shown == "regular empty file\n"
    assert stray.read_text() == "hello\n"
    stray.unlink()


def test_a_foreign_mapping_that_takes_the_place_of_ours_keeps_its_contents(engine, compiled):
    program = engine.popen([compiled("swap"), engine.devices[0].path], stdin=-1, stdout=-1, text=True)
    assert program.stdout.readline() == "ready\n"
    for _ in range(300):
        engine.devices[0].kill()
        engine.devices[0].revive()
    output = program.communicate("", timeout=60)[0]
    assert (program.returncode, output) == (0, "ok\n")


def test_a_library_that_somebody_else_preloads_comes_along(engine):
    script = "LD_PRELOAD=libm.so.6 stat -c %F /dev/dax0.0; env -u LD_PRELOAD stat -c %F /dev/dax0.0"
    shown = engine.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["character special file"] * 2


@pytest.mark.parametrize(
    "path",
    ["link", "chain", "relative", "dir/dax0.0", "/usr/../dev/dax0.0", "/dev/../dev/./dax0.0", "/dev/shm/../dax0.0"],
)
def test_the_device_is_found_by_other_paths(engine, tmp_path, path):
    (tmp_path / "link").symlink_to("/dev/dax0.0")
    (tmp_path / "chain").symlink_to("link")
    (tmp_path / "relative").symlink_to(os.path.relpath("/dev/dax0.0", tmp_path))
    (tmp_path / "dir").symlink_to("/dev")
    code = "import os, sys; os.close(os.open(sys.argv[1], os.O_RDWR)); print(oct(os.stat(sys.argv[1]).st_mode))"

    opened = engine.run([sys.executable, "-c", code, path], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert opened.stdout == "0o20600\n"
    engine.run(["bash", "-c", 'test -c "$0" && test -w "$0"', path], cwd=tmp_path, check=True)


def test_a_library_path_with_blanks_is_linked_to(monkeypatch, tmp_path):
    from daxemu.session import session as module

    odd = tmp_path / "with space:and colon"
    odd.mkdir()
    library = odd / module.PRELOAD_LIBRARY.name
    library.write_bytes(module.PRELOAD_LIBRARY.read_bytes())
    monkeypatch.setattr(module, "PRELOAD_LIBRARY", library)
    with Engine() as engine:
        engine.add_region("2M")
        engine.run(["test", "-c", "/dev/dax0.0"], check=True)


def test_sweeping_keeps_out_of_directories_that_are_not_private(monkeypatch, runtime_dir, tmp_path):
    precious = tmp_path / "victim" / "precious"
    precious.mkdir(parents=True)
    os.utime(precious, (0, 0))
    root = runtime_dir / f"daxemu-{os.getuid()}"
    root.symlink_to(precious.parent)
    try:
        assert sweep() == []
        assert precious.is_dir()
    finally:
        root.unlink()
    root.mkdir(mode=0o755)
    (root / "precious").mkdir()
    os.utime(root / "precious", (0, 0))
    assert sweep() == []
    (root / "precious").rmdir()
    root.rmdir()


def test_the_umask_does_not_lock_the_next_session_out(runtime_dir):
    code = "import os; os.umask(0o777); import daxemu\nwith daxemu.Engine() as e: e.run(['true'], check=True)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)


def test_a_relative_runtime_directory_is_ignored(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAXEMU_SESSIONS_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", ".")
    with Engine() as engine:
        assert Path(engine.environ()["DAXEMU_SESSION"]).is_absolute()


def test_an_engine_without_free_descriptors_turns_clients_away_at_once(engine):
    program = Program(engine, "")
    program.end()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    client = engine.popen(
        [sys.executable, "-c", "import os, sys; sys.stdin.readline(); os.open('/dev/dax0.0', os.O_RDWR)"],
        stdin=-1,
        stderr=-1,
        text=True,
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 5, hard))
    try:
        while True:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        client.stdin.write("\n")
        client.stdin.flush()
        client.wait(timeout=20)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "No such device or address" in client.communicate()[1]


def test_a_stopped_client_misses_nothing_however_much_happens_meanwhile(engine, start_mapper):
    other = engine.add_region("4M").devices[0]
    first, second = start_mapper(engine.devices[0].path), start_mapper(other.path)
    assert (first("w 0 1"), second("w 0 2")) == ("ok", "ok")
    os.kill(second.pid, signal.SIGSTOP)
    for _ in range(60):
        engine.devices[0].kill()
        engine.devices[0].revive()
    began = time.monotonic()
    other.kill()
    assert time.monotonic() - began < 4
    os.kill(second.pid, signal.SIGCONT)

    deadline = time.monotonic() + 10
    while not (answer := second("r 0")).startswith("SIGBUS"):
        assert time.monotonic() < deadline, answer
    assert first("r 0") == "1"


def test_a_client_that_changed_its_root_is_revoked(engine, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may chroot: use sudo")
    program = Program(engine, f"os.chroot({str(tmp_path)!r}); wait(); print(touch(m))")
    program.reach()
    engine.devices[0].kill()
    assert program.end() == ["-1"]


def test_descriptors_that_reuse_an_attributes_number_are_their_own(engine):
    code = """
import tempfile
def attribute():
    fd = os.open("/sys/bus/dax/devices/dax0.0/size", os.O_RDONLY)
    os.read(fd, 99); os.close(fd)
    return fd
number = attribute()
memory = os.memfd_create("x")
os.write(memory, b"memory"); os.lseek(memory, 0, 0)
print(number == memory, os.read(memory, 99).decode())
os.close(memory)
number = attribute()
path = tempfile.mktemp()
old = os.open(path, os.O_RDWR | os.O_CREAT)
os.write(old, b"old"); os.lseek(old, 0, 0); os.unlink(path)
open(path, "w").write("new")
print(number == old, os.read(old, 99).decode())
os.unlink(path)
"""
    assert Program(engine, code).end() == ["True", "memory", "True", "old"]


@pytest.mark.parametrize("directory", ["/", "/dev/", "/dev", "/sys/bus/", "/sys/"])
def test_a_listing_shows_what_is_there_and_nothing_of_the_session(engine, directory):
    code = (
        "import os, sys\n"
        "for e in os.scandir(sys.argv[1]):\n"
        "    assert os.path.lexists(e.path), e.path\n"
        "    assert e.name not in ('table', 'sock', 'lock'), e.path\n"
        "    assert not (e.name.startswith('dax') and e.is_file()), e.path\n"
    )
    engine.run([sys.executable, "-c", code, directory], check=True)
