"""The wire: versioned, length-checked, and not to be upset by anybody who writes to it."""

import os
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daxemu import Engine
from daxemu.session import layout


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
