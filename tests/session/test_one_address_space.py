"""The seed's scenario: however many nodes and processes, one inode, one revocation."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from daxemu import DaxBusError, KernelError
from tests.session.conftest import LENGTH

FAR = LENGTH - 1


@pytest.fixture
def alias(engine, device, tmp_path):
    """A second node of the device, made by mknod(1)."""
    path = tmp_path / "alias"
    engine.run(["mknod", path, "c", *map(str, device.devt)], check=True)
    return str(path)


def test_three_processes_on_two_nodes_share_stores_and_one_revocation(engine, device, alias, start):
    clients = [start(device.path), start(device.path), start(alias)]
    assert [client.status for client in clients] == ["ok"] * 3

    assert clients[0]("w 100 42") == "ok"
    assert [client("r 100") for client in clients] == ["42"] * 3
    assert clients[2](f"w {FAR} 7") == "ok"
    assert [client(f"r {FAR}") for client in clients] == ["7"] * 3

    device.kill()

    for client in clients:
        assert client("r 100") == "SIGBUS 2 100"
        assert client("w 4097 1") == "SIGBUS 2 4097"
        assert client(f"r {FAR}") == f"SIGBUS 2 {FAR}"
        assert client("o") == "ENXIO"
        assert client("m") == "ENXIO"

    device.revive()

    for client in clients:
        assert (client("r 100"), client(f"r {FAR}")) == ("42", "7")
        assert (client("o"), client("m")) == ("ok", "ok")


def test_an_alias_shows_as_the_character_device_that_it_is(engine, device, alias):
    shown = engine.run(["stat", "-c", "%F %Hr:%Lr", alias], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == "character special file {}:{}".format(*device.devt)


def test_a_read_only_mapping_is_revoked_too_and_stays_read_only(device, start, compiled):
    writer = start(device.path)
    reader = start("", via=[str(compiled("mapper")), device.path, str(LENGTH), "ro"])
    writer("w 9 99")
    assert (reader("r 9"), reader("p")) == ("99", "EACCES")

    device.kill()
    assert reader("r 9") == "SIGBUS 2 9"
    device.revive()

    assert (reader("r 9"), reader("p")) == ("99", "EACCES")


def test_a_shrink_cuts_every_process_at_the_new_end(device, alias, start):
    clients = [start(device.path), start(alias)]
    for client in clients:
        client("w 0 9")
        client(f"w {2 << 20} 8")

    device.resize("2M")

    for client in clients:
        assert client("r 0") == "9"
        assert client(f"r {(2 << 20) - 1}") == "0"
        assert client(f"r {2 << 20}") == f"SIGBUS 2 {2 << 20}"
        assert client(f"r {FAR}") == f"SIGBUS 2 {FAR}"

    device.resize("16M")

    assert [client("r 0") for client in clients] == ["9", "9"]
    assert not clients[0](f"r {FAR}").startswith("SIGBUS")


def test_a_forked_child_is_revoked_and_restored(device, start):
    client = start(device.path)
    parent = client.pid
    client("w 5 55")
    assert int(client("f").split()[1]) != parent

    assert client("r 5") == "55"
    device.kill()
    assert client("r 5") == "SIGBUS 2 5"
    device.revive()
    assert client("r 5") == "55"


def test_a_child_forked_while_the_device_is_dead_is_restored_with_it(device, start):
    client = start(device.path)
    client("w 5 55")
    device.kill()
    client("f")
    assert client("r 5") == "SIGBUS 2 5"

    device.revive()

    assert client("r 5") == "55"


def python_client(code: str, mapper) -> list[str]:
    """A Python program that gets hold of a descriptor ``fd`` and becomes a mapper of it."""
    ending = f"os.set_inheritable(fd, True); os.execv({str(mapper)!r}, [{str(mapper)!r}, f'fd:{{fd}}', '{LENGTH}'])"
    return [sys.executable, "-c", f"import os, socket, fcntl\n{code}\n{ending}"]


@pytest.mark.parametrize(
    "code",
    [
        "fd = os.open('/dev/dax0.0', os.O_RDWR)",
        "fd = os.dup(os.open('/dev/dax0.0', os.O_RDWR))",
        "fd = os.dup2(os.open('/dev/dax0.0', os.O_RDWR), 77)",
        "fd = fcntl.fcntl(os.open('/dev/dax0.0', os.O_RDWR), fcntl.F_DUPFD, 50)",
        "fd = os.open('/proc/self/fd/%d' % os.open('/dev/dax0.0', os.O_RDWR), os.O_RDWR)",
        "a, b = socket.socketpair(socket.AF_UNIX)\n"
        "if os.fork() == 0:\n"
        "    socket.send_fds(a, [b'x'], [os.open('/dev/dax0.0', os.O_RDWR)]); os._exit(0)\n"
        "os.wait(); fd = socket.recv_fds(b, 1, 1)[1][0]",
    ],
    ids=["exec", "dup", "dup2", "F_DUPFD", "proc-self-fd", "SCM_RIGHTS"],
)
def test_a_descriptor_is_the_device_whichever_way_it_came(device, start, compiled, code):
    first = start(device.path)
    second = start("", via=python_client(code, compiled("mapper")))
    assert second.status == "ok"

    first("w 1 11")
    assert second("r 1") == "11"
    device.kill()
    assert [first("r 1"), second("r 1")] == ["SIGBUS 2 1"] * 2
    device.revive()
    assert [first("r 1"), second("r 1")] == ["11"] * 2


def test_the_interpreter_itself_is_revoked_with_the_others(device, start):
    client = start(device.path)
    with device.open() as file, file.mmap() as memory:
        client("w 3 33")
        assert memory[3] == 33

        device.kill()
        with pytest.raises(DaxBusError) as caught:
            memory[3:10]
        assert caught.value.address == 3
        with pytest.raises(DaxBusError):
            memory[3:6] = b"abc"
        with pytest.raises(KernelError, match="ENXIO"):
            file.mmap()
        with pytest.raises(KernelError, match="ENXIO"):
            device.open()

        device.revive()
        assert (memory[3], client("r 3")) == (33, "33")
        assert memory[:4] == b"\0\0\0\x21"


def test_a_stopped_client_does_not_hang_the_engine_and_is_revoked_before_it_goes_on(device, start, caplog):
    client = start(device.path)
    client("w 2 22")
    os.kill(client.pid, signal.SIGSTOP)
    while ") T" not in Path(f"/proc/{client.pid}/stat").read_text():
        time.sleep(0.01)
    try:
        began = time.monotonic()
        device.kill()
        assert time.monotonic() - began < 5
        assert f"process {client.pid}" in caplog.text
    finally:
        os.kill(client.pid, signal.SIGCONT)

    deadline = time.monotonic() + 10
    while not (answer := client("r 2")).startswith("SIGBUS"):
        assert time.monotonic() < deadline, answer
    device.revive()
    assert client("r 2") == "22"


def test_a_client_that_died_is_not_waited_for(device, start):
    client, other = start(device.path), start(device.path)
    os.kill(client.pid, signal.SIGKILL)
    client.process.wait()

    device.kill()

    assert other("r 0") == "SIGBUS 2 0"


def test_a_destroyed_device_is_gone_for_everyone(engine, start):
    region = engine.add_region("16M", provider="hmem")
    keep, gone = region.create_device("8M"), region.create_device("8M")
    client = start(gone.path)
    witness = start(keep.path)

    gone.destroy()

    assert client("r 0") == "SIGBUS 2 0"
    assert (client("m"), client("o")) == ("ENXIO", "ENOENT")
    assert witness("r 0") == "0"
    listed = engine.run(["ls", "/sys/bus/dax/devices"], capture_output=True, text=True, check=True).stdout
    assert listed.split() == [keep.name]


def test_a_program_that_closes_every_descriptor_is_still_revoked(device, start, compiled):
    code = (
        "import mmap, ctypes, sys\n"
        "m = mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 2 << 20)\n"
        "os.closerange(3, 65536)\n"
        "print('ok', os.getpid(), flush=True)\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        "r, w = os.pipe()\n"
        "for line in sys.stdin:\n"
        "    n = libc.write(w, ctypes.c_void_p(address), ctypes.c_size_t(1))\n"
        "    print(n, ctypes.get_errno() if n < 0 else 0, flush=True)\n"
    )
    client = start("", via=[sys.executable, "-c", f"import os\n{code}"])

    assert client("x") == "1 0"
    device.kill()
    assert client("x") == "-1 14"
    device.revive()
    assert client("x") == "1 0"
