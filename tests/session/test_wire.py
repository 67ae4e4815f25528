"""The wire: versioned, length-checked, and not to be upset by anybody who writes to it."""

import json
import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daxemu import Engine, UsageError
from daxemu.session import client, layout


@pytest.fixture(scope="module")
def running(runtime_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAXEMU_SESSIONS_DIR", str(runtime_dir))
        with Engine() as engine:
            engine.add_region("4M")
            yield engine, engine.environ()["DAXEMU_SESSION"] + "/sock"


@pytest.fixture
def sessions_in_runtime_dir():
    """The module's engine outlives each test."""


def connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    connection.connect(path)
    return connection


def message(**fields) -> bytes:
    defaults = {"magic": layout.MESSAGE_MAGIC, "version": layout.WIRE_VERSION, "length": layout.MESSAGE.size}
    return layout.MESSAGE.pack(**(defaults | fields))


def ask(path: str, **fields) -> tuple[dict[str, int], list[int]]:
    with connect(path) as connection:
        connection.send(message(**fields))
        data, fds, _, _ = socket.recv_fds(connection, 4096, 4)
        return layout.MESSAGE.unpack(data), fds


def test_open_brings_the_backing_file(running):
    engine, path = running
    answer, (fd,) = ask(path, type=layout.OPEN, minor=0, serial=77)

    assert (answer["status"], answer["serial"]) == (0, 77)
    assert os.fstat(fd).st_size == engine.devices[0].size
    os.close(fd)


def test_open_of_an_unknown_minor_is_enxio(running):
    answer, fds = ask(running[1], type=layout.OPEN, minor=5)

    assert (answer["status"], fds) == (-6, [])


def test_an_unknown_request_is_enosys(running):
    assert ask(running[1], type=99)[0]["status"] == -38


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        message(type=layout.OPEN)[:-1],
        message(type=layout.OPEN) + b"x",
        message(type=layout.OPEN, version=layout.WIRE_VERSION + 1),
        message(type=layout.OPEN, magic=1),
        message(type=layout.OPEN, length=7),
    ],
)
def test_what_is_no_message_of_this_version_ends_the_connection(running, data):
    with connect(running[1]) as connection:
        connection.send(data)
        assert connection.recv(4096) == b""


@given(
    data=st.binary(max_size=80), fields=st.dictionaries(st.sampled_from(list(layout.MESSAGE.fields)[4:]), st.just(3))
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_input_stops_the_server(running, data, fields):
    _, path = running
    for payload in (data, message(type=len(data) % 7, **fields)):
        with connect(path) as connection:
            connection.send(payload)
    answer, (fd,) = ask(path, type=layout.OPEN)
    os.close(fd)
    assert answer["status"] == 0


def test_an_idle_connection_holds_nobody_up(running):
    with connect(running[1]), connect(running[1]) as half:
        half.send(message(type=layout.AGENT))
        assert layout.MESSAGE.unpack(half.recv(100))["status"] == 0
        assert ask(running[1], type=layout.OPEN, minor=9)[0]["status"] == -6


def test_many_clients_at_once_are_all_answered(running):
    failures = []

    def client():
        try:
            for _ in range(20):
                answer, fds = ask(running[1], type=layout.OPEN)
                assert answer["status"] == 0
                for fd in fds:
                    os.close(fd)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_agent_that_never_answers_is_reported_and_not_waited_for_long(caplog):
    with Engine() as engine:
        device = engine.add_region("4M").devices[0]
        path = engine.environ()["DAXEMU_SESSION"] + "/sock"
        agents = engine._wiring.session._server.agents
        with connect(path) as silent:
            silent.send(message(type=layout.AGENT))
            silent.recv(100)
            assert agents.synchronise(0, ino=1, patience=0.2) == []  # it maps no such file
            with device.open() as file, file.mmap():
                ino = os.fstat(file.fileno()).st_ino
                (line,) = agents.synchronise(0, ino, patience=0.2)
                assert f"process {os.getpid()}" in line
        device.kill()


def refusal(reason: int, comm: bytes) -> bytes:
    body = layout.REFUSAL.pack(reason=reason, start=0x1000, end=0x2000) + comm
    return message(type=layout.LOG, minor=0, length=layout.MESSAGE.size + len(body)) + body


def test_a_refused_mapping_is_logged_before_the_answer(running):
    engine, path = running
    with connect(path) as connection:
        connection.send(refusal(layout.REFUSED_UNALIGNED, "mäpper".encode()))
        answer = layout.MESSAGE.unpack(connection.recv(4096))
    assert (answer["type"], answer["status"]) == (layout.LOG, 0)
    line = "device_dax dax0.0: mäpper: dax_mmap: fail, unaligned vma (0x1000 - 0x2000, 0x1fffff)"
    assert engine.kmsg[-1].text == line


@pytest.mark.parametrize("size", [0, 1, layout.REFUSAL.size - 1])
def test_a_refusal_that_is_too_short_is_not_logged(running, size):
    engine, path = running
    before = len(engine.kmsg)
    with connect(path) as connection:
        connection.send(message(type=layout.LOG, length=layout.MESSAGE.size + size) + b"x" * size)
        connection.recv(4096)
    assert len(engine.kmsg) == before


def test_a_client_that_does_not_wait_for_the_answer_is_heard(running):
    engine, path = running
    before = len(engine.kmsg)
    with connect(path) as connection:
        connection.send(refusal(layout.REFUSED_PRIVATE, b"hasty"))
    ask(path, type=layout.OPEN, minor=5)
    assert [record.text for record in engine.kmsg[before:]] in (
        [], ["device_dax dax0.0: hasty: dax_mmap: fail, attempted private mapping"]
    )  # fmt: skip


def command(path: str, body: bytes, **fields) -> tuple[int, bytes]:
    length = layout.MESSAGE.size + len(body)
    with connect(path) as connection:
        connection.send(message(type=layout.COMMAND, length=length, **fields) + body)
        data = connection.recv(layout.MESSAGE.size + layout.COMMAND_MOST)
    return (layout.MESSAGE.unpack(data)["status"], data[layout.MESSAGE.size :]) if data else (0, b"")


def request(name: str, /, **arguments) -> bytes:
    return json.dumps({"command": name, "arguments": arguments}).encode()


def test_a_command_is_answered_in_json(running):
    assert command(running[1], request("list-faults")) == (0, b'{"result": []}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"command": "fly", "arguments": {}}',
        b'{"command": "device", "arguments": 7}',
        b'{"command": ["device"], "arguments": {}}',
        request("device"),
        request("device", name=7, verb="kill"),
        request("device", name="dax0.0", verb="close"),
        request("device", name="dax0.0", verb="kill", driver=7, more=1),
        request("region", number=0, verb="_plug"),
        request("region", number="0", verb="remove"),
        request("add-region", spec=7),
        request("add-fault", point=[], errno="EIO"),
        request("add-fault", point="open", errno=[1]),
        request("add-fault", point="open", path=7, errno="EIO"),
        request("add-fault", point="open", delay="long"),
        request("remove-fault", number="x"),
    ],
)
def test_a_command_that_makes_no_sense_is_told_so(running, body):
    engine, path = running

    status, answer = command(path, body)

    assert status == 0
    assert list(json.loads(answer)) == ["error"]
    assert engine.devices[0].alive
    assert len(engine.faults) == 0


def test_a_command_that_is_too_long_ends_the_connection(running):
    assert command(running[1], b" " * layout.COMMAND_MOST)[1]
    assert command(running[1], b" " * (layout.COMMAND_MOST + 1)) == (0, b"")


def test_a_command_of_another_version_ends_the_connection(running):
    assert command(running[1], request("list-faults"), version=layout.WIRE_VERSION + 1) == (0, b"")


def test_the_command_line_says_so_when_it_is_not_understood(running, monkeypatch):
    monkeypatch.setattr(client, "layout", SimpleNamespace(**vars(layout) | {"WIRE_VERSION": layout.WIRE_VERSION + 1}))
    with pytest.raises(UsageError, match="another version's"):
        client.command(Path(running[1]).parent, "list-faults")
