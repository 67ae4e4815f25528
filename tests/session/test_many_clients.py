"""A revocation reaches every process, in bounded time, whatever the processes are doing."""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


def stop(client):
    os.kill(client.pid, signal.SIGSTOP)
    while ") T" not in Path(f"/proc/{client.pid}/stat").read_text():
        time.sleep(0.001)


def ask_while_stopped(client, request):
    """The answer to a request that is there before the process goes on."""
    client.process.stdin.write(request + "\n")
    client.process.stdin.flush()
    os.kill(client.pid, signal.SIGCONT)
    return client._line()


def test_a_hundred_processes(device, start):
    clients = [start(device.path) for _ in range(100)]
    clients[0]("w 100 42")
    held = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        device.kill()
        assert {client("r 100") for client in clients} == {"SIGBUS 2 100"}
        device.revive()
        assert {client("r 100") for client in clients} == {"42"}

    assert len(os.listdir("/proc/self/fd")) == held


def test_a_stopped_client_touches_nothing_when_it_goes_on(device, start):
    client = start(device.path)
    client(f"w {3 << 20} 33")
    for _ in range(5):
        stop(client)
        device.kill()
        assert ask_while_stopped(client, "r 5") == "SIGBUS 2 5"
        device.revive()
        assert client(f"r {3 << 20}") == "33"


def test_a_client_that_was_stopped_throughout_has_missed_nothing(device, start):
    client, other = start(device.path), start(device.path)
    client("w 5 55")
    stop(client)
    device.kill()
    device.revive()
    assert other("r 5") == "55"
    assert ask_while_stopped(client, "r 5") == "55"


def test_the_device_of_a_stopped_client_can_be_resized_and_destroyed(engine, device, start):
    client = start(device.path)
    client("w 5 55")
    client(f"w {3 << 20} 33")
    stop(client)
    device.resize("2M")
    assert ask_while_stopped(client, f"r {3 << 20}") == f"SIGBUS 2 {3 << 20}"
    assert client("r 5") == "55"
    stop(client)
    device.resize("4M")
    assert ask_while_stopped(client, f"r {3 << 20}") == "33"
    stop(client)
    device.destroy()
    assert ask_while_stopped(client, "r 5") == "SIGBUS 2 5"


def test_nobody_waits_for_each_of_many_stopped_clients(device, start, caplog):
    running = start(device.path)
    clients = [start(device.path) for _ in range(30)]
    for client in clients:
        stop(client)
    began = time.monotonic()
    device.kill()
    elapsed = time.monotonic() - began
    assert running("r 0") == "SIGBUS 2 0"
    assert {ask_while_stopped(client, "r 9") for client in clients} == {"SIGBUS 2 9"}
    assert all(f"process {client.pid} (state T (stopped))" in caplog.text for client in clients)
    assert elapsed < 5


def test_clients_that_are_killed_meanwhile(device, start):
    clients = [start(device.path) for _ in range(24)]
    doomed, rest = clients[::2], clients[1::2]

    def slaughter():
        for client in doomed:
            os.kill(client.pid, signal.SIGKILL)
            time.sleep(0.002)

    killer = threading.Thread(target=slaughter)
    killer.start()
    while killer.is_alive():
        device.kill()
        device.revive()
    killer.join()
    device.kill()
    assert {client("r 7") for client in rest} == {"SIGBUS 2 7"}


def test_clients_that_come_and_go_meanwhile(engine, device, compiled):
    """Whether one finds the device alive or not, each ends as it should."""
    command, answers = [str(compiled("mapper")), device.path, "2097152"], []

    def come_and_go():
        for _ in range(15):
            answers.append(engine.run(command, input="", capture_output=True, text=True).returncode)

    engine.environ()
    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        device.kill()
        device.revive()
    for thread in threads:
        thread.join()
    assert answers == [0] * 60


def test_a_client_in_a_debugger_is_not_waited_for_and_touches_nothing_afterwards(device, start, caplog):
    client = start(device.path)
    client("w 5 55")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    threads = [int(name) for name in os.listdir(f"/proc/{client.pid}/task")]
    assert len(threads) == 2
    for thread in threads:
        if libc.ptrace(PTRACE_SEIZE, thread, None, None):
            pytest.skip(f"ptrace: {os.strerror(ctypes.get_errno())}")
        libc.ptrace(PTRACE_INTERRUPT, thread, None, None)
        os.waitpid(thread, 0x40000000)  # __WALL

    device.kill()

    assert f"process {client.pid} (state t" in caplog.text
    client.process.stdin.write("r 5\n")
    client.process.stdin.flush()
    for thread in threads:
        libc.ptrace(PTRACE_DETACH, thread, None, None)
    assert client._line() == "SIGBUS 2 5"
    device.revive()
    assert client("r 5") == "55"


def test_a_parent_that_waits_for_its_vfork_child_is_revoked_with_it(engine, device, compiled):
    command = [compiled("vforker"), device.path]
    with engine.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as program:

        def touch(request=b"t"):
            program.stdin.write(request)
            return program.stdout.read(1)

        assert touch() == b"1"
        device.kill()
        assert touch() == b"0"
        device.revive()
        assert touch(b"e") == b"1"  # the child ends
        assert touch() == b"1"
        device.kill()
        assert touch() == b"0"
        program.stdin.close()


def test_a_program_whose_first_thread_has_ended_is_revoked(engine, device, compiled, caplog):
    command = [compiled("leaderless"), device.path]
    with engine.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as program:

        def touch():
            program.stdin.write(b"t")
            return program.stdout.read(1)

        assert touch() == b"1"
        while ") Z" not in Path(f"/proc/{program.pid}/stat").read_text():
            time.sleep(0.01)
        device.kill()
        assert touch() == b"0"
        device.revive()
        assert touch() == b"1"
        os.kill(program.pid, signal.SIGSTOP)
        device.kill()
        os.kill(program.pid, signal.SIGCONT)
        assert f"process {program.pid} (state T" in caplog.text
        assert touch() == b"0"
        program.stdin.close()


def test_an_engine_that_dies_in_the_middle_of_it_takes_its_clients_along(compiled, runtime_dir):
    code = f"""
import daxemu, os, signal, subprocess, sys
engine = daxemu.Engine()
device = engine.add_region("4M").devices[0]
pipe = subprocess.PIPE
command = [{str(compiled("mapper"))!r}, device.path, "2097152"]
clients = [engine.popen(command, stdin=pipe, stdout=pipe) for _ in range(3)]
for client in clients:
    client.stdout.readline()
print(*(client.pid for client in clients), flush=True)
sys.stdin.readline()
os.kill(clients[1].pid, signal.SIGSTOP)
print("now", flush=True)
while True:
    device.kill()
    device.revive()
"""
    engine = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
    pids = [int(pid) for pid in engine.stdout.readline().split()]
    ends = [os.pidfd_open(pid) for pid in pids]
    engine.stdin.write("\n")
    engine.stdin.flush()
    assert engine.stdout.readline() == "now\n"
    time.sleep(0.02)
    engine.kill()
    engine.communicate()
    os.kill(pids[1], signal.SIGCONT)
    for pid, end in zip(pids, ends, strict=True):
        assert gone(end), pid
        os.close(end)
    subprocess.run([sys.executable, "-m", "daxemu", "gc"], check=True, capture_output=True)


def gone(pidfd):
    return bool(select.select([pidfd], [], [], 20)[0])
