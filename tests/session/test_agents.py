"""What is wanted of an agent, and what has been sent: nothing is lost, and nobody waits for room."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from daxemu.session import layout
from daxemu.session.agents import Agent, Agents

DEVICES = 1000  # more than a socket has room for


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, theirs


def received(end):
    """(minor, serial) of every request that is there."""
    while True:
        try:
            request = layout.MESSAGE.unpack(end.recv(100))
        except BlockingIOError:
            return
        yield request["minor"], request["serial"]


def test_who_does_not_run_holds_nobody_up_and_catches_up(ends):
    agent = Agent(os.getpid(), ends[0])
    for serial in (1, 2, 3):
        for minor in range(DEVICES):
            agent.ask(minor, serial * DEVICES + minor)

    last: dict[int, int] = {}
    count = 0
    while batch := list(received(ends[1])):
        for minor, serial in batch:
            last[minor] = serial
            count += 1
            agent.answered(minor)

    assert last == {minor: 3 * DEVICES + minor for minor in range(DEVICES)}
    assert count <= 2 * DEVICES  # what was superseded is not done for nothing
    assert not agent.behind


def test_one_that_is_known_to_stand_still_is_not_waited_for_again(ends):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        os.kill(process.pid, signal.SIGSTOP)
        agents = Agents()
        agents.add(Agent(process.pid, ends[0]))
        program = os.stat(f"/proc/{process.pid}/exe").st_ino
        try:
            (line,) = agents.synchronise(0, program, patience=20)
            assert line == f"process {process.pid} (state T (stopped)) has not done it yet"
            began = time.monotonic()
            for minor in range(300):
                assert agents.synchronise(minor, ino=1, patience=20) == []  # and it does not map this one
            assert time.monotonic() - began < 20
        finally:
            process.kill()


def test_an_answer_to_an_earlier_wish_does_not_count(ends):
    agents = Agents()
    agent = Agent(os.getpid(), ends[0])
    agents.add(agent)
    agents.synchronise(0, ino=1, patience=0)
    (first,) = received(ends[1])
    agents.synchronise(0, ino=1, patience=0)
    assert list(received(ends[1])) == []

    agents.heard(agent, {"minor": 0, "serial": first[1], "status": 0})

    assert [serial for _, serial in received(ends[1])] == [first[1] + 1]
