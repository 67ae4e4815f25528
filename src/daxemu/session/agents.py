"""The processes that map devices: telling all of them of a change, and waiting until it has been made."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

from daxemu.session import layout

__all__ = ["Agent", "Agents"]

_GLANCE = 0.05  # seconds between looks at processes that do not answer


class Agent:
    """A process that maps devices, and the connection to the agent in it.

    For each device one SYNC at a time is on its way, and at most one more wanted: whoever brings
    mappings in line does it by what the table says at that moment.
    """

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.connection = connection
        self._under_way: set[int] = set()  # minors
        self._again: dict[int, int] = {}  # serials of wishes that wait for the answer to an earlier one
        self._unsent: dict[int, int] = {}  # ... for room in the socket
        self._seen = ""
        connection.setblocking(False)

    def ask(self, minor: int, serial: int) -> None:
        """Wish for a SYNC of a device."""
        if minor in self._under_way:
            self._again[minor] = serial
        elif self._send(minor, serial):
            self._under_way.add(minor)
        else:
            self._unsent[minor] = serial

    @property
    def behind(self) -> bool:
        """Whether it owes an answer."""
        return bool(self._under_way)

    def answered(self, minor: int) -> None:
        """Take note of an answer: there is room for what had to wait."""
        self._under_way.discard(minor)
        if minor in self._again:
            self._unsent[minor] = self._again.pop(minor)
        while self._unsent:
            minor, serial = next(iter(self._unsent.items()))
            if not self._send(minor, serial):
                return
            del self._unsent[minor]
            self._under_way.add(minor)

    def _send(self, minor: int, serial: int) -> bool:
        message = layout.MESSAGE.pack(
            magic=layout.MESSAGE_MAGIC,
            version=layout.WIRE_VERSION,
            type=layout.SYNC,
            length=layout.MESSAGE.size,
            minor=minor,
            serial=serial,
        )
        try:
            self.connection.send(message)
        except OSError:
            # A full socket is a process that does not run; its next answer makes room. An ended one will be heard of.
            return False
        return True

    def may_map(self, ino: int) -> bool:
        """Whether the process maps the file with this inode number, as far as one can see."""
        try:
            maps = (_task(self.pid) / "maps").read_text(errors="replace")
        except OSError:
            return True
        return any(line.split(maxsplit=5)[4] == str(ino) for line in maps.splitlines())

    def stands_still(self) -> bool:
        """Whether the agent is stopped, by a signal or a debugger, and has not run since the last look."""
        seen, self._seen = self._seen, _thread_status(self.pid)
        return seen == self._seen and any(line.startswith(("State:\tT", "State:\tt")) for line in seen.splitlines())


def _task(pid: int) -> Path:
    """Where a process's agent is in /proc; its first thread, which may have ended, where none is to be found."""
    tasks = Path(f"/proc/{pid}/task")
    return next((task for task in tasks.iterdir() if (task / "comm").read_text() == "daxemu-agent\n"), tasks / str(pid))


def _thread_status(pid: int) -> str:
    """State of a process's agent, and how often it was switched."""
    try:
        lines = (_task(pid) / "status").read_text().splitlines()
    except OSError:
        return "State:\tgone"
    return "\n".join(line for line in lines if line.startswith(("State:", "voluntary_", "nonvoluntary_")))


class _Round:
    """One change of a device that somebody waits for."""

    def __init__(self, minor: int, serial: int) -> None:
        self.minor = minor
        self.serial = serial
        self.pending: set[Agent] = set()
        self.late: set[Agent] = set()
        self.failed: list[str] = []


class Agents:
    """All agents."""

    def __init__(self) -> None:
        self._agents: dict[socket.socket, Agent] = {}
        self._rounds: list[_Round] = []
        self._complete = threading.Condition()  # guards the agents and the rounds
        self._serial = 0

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that map, or have mapped, a device."""
        with self._complete:
            return [agent.pid for agent in self._agents.values()]

    def add(self, agent: Agent) -> None:
        """From now on this process is told of changes."""
        with self._complete:
            self._agents[agent.connection] = agent

    def remove(self, connection: socket.socket) -> Agent | None:
        """The process has ended; nobody waits for it any longer. None: it was no agent's connection."""
        with self._complete:
            agent = self._agents.pop(connection, None)
            for waiting in self._rounds if agent else ():
                waiting.pending.discard(agent)
                self._tell_if_complete(waiting)
            return agent

    def heard(self, agent: Agent, answer: dict[str, int]) -> None:
        """An agent has answered a SYNC."""
        with self._complete:
            for waiting in self._rounds:
                if waiting.minor == answer["minor"] and waiting.serial <= answer["serial"] and agent in waiting.pending:
                    waiting.pending.discard(agent)
                    if answer["status"] < 0:
                        waiting.failed.append(f"process {agent.pid} could not: {os.strerror(-answer['status'])}")
                    self._tell_if_complete(waiting)
            agent.answered(answer["minor"])

    def _tell_if_complete(self, waiting: _Round) -> None:
        if not waiting.pending:
            self._complete.notify_all()

    def synchronise(self, minor: int, ino: int, patience: float = 5.0) -> list[str]:
        """Have every process bring its mappings of a device in line with the table. ``ino``: of the device's file.

        Waits for all of them together at most ``patience`` seconds, and for stopped ones not at
        all; returns a line about each that has not done it.
        """
        with self._complete:
            self._serial += 1
            waiting = _Round(minor, self._serial)
            for agent in self._agents.values():
                known = agent.behind and agent.stands_still()
                (waiting.late if known else waiting.pending).add(agent)
                agent.ask(minor, waiting.serial)
            self._rounds.append(waiting)
            try:
                self._await(waiting, time.monotonic() + patience)
            finally:
                self._rounds.remove(waiting)
            late = sorted(agent.pid for agent in waiting.late | waiting.pending if agent.may_map(ino))
        return [*waiting.failed, *(f"process {pid} (state {_state(pid)}) has not done it yet" for pid in late)]

    def _await(self, waiting: _Round, deadline: float) -> None:
        while waiting.pending:
            if self._complete.wait(_GLANCE):
                continue
            still = [agent.stands_still() for agent in waiting.pending]
            if all(still) or time.monotonic() > deadline:
                return


def _state(pid: int) -> str:
    return _thread_status(pid).partition("\n")[0].partition("\t")[2]
