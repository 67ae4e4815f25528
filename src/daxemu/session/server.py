"""The engine's end of the wire: hands out backing files, and reaches every process that maps a device."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from daxemu.errors import KernelError, UsageError
from daxemu.session import layout
from daxemu.session.agents import Agent, Agents

__all__ = ["Handlers", "Server"]

# The longest path and the most data; or a command.
_LONGEST = layout.MESSAGE.size + max(4096 + 1 + layout.STORE_MOST, layout.COMMAND_MOST)
_WITH_BODY = {layout.STORE, layout.COMMAND, layout.OPEN_DISK, layout.IOCTL, layout.HWPOISON}
_SLOW = _WITH_BODY | {layout.ASK_TO_OPEN, layout.SHOW_TREE, layout.SHOW_MACHINE}


class Handlers(NamedTuple):
    """What carries out requests that may take the engine's lock, or long: each gets a thread of its own.

    ``store(path, data)`` writes an attribute; ``may_open(minor)`` decides whether a device may be
    opened now; ``show_tree`` shows what is below /sys, ``show_machine`` memory and nodes there, when
    a program first looks. They raise OSError to refuse. ``command(request)`` is the command line's,
    JSON in and out. ``open_disk(name)`` gives a descriptor of the memory of a raw namespace,
    ``ioctl(name, request, argument)`` the argument as the nvdimm bus leaves it. ``client(pid,
    attached=)`` hears of the processes that map devices; it is called by the server itself, and must
    not wait. ``hwpoison(pid, minor, first, end)`` tells others of what a process pretends to be broken.
    """

    store: Callable[[str, bytes], None]
    may_open: Callable[[int], None]
    show_tree: Callable[[], None]
    show_machine: Callable[[], None]
    command: Callable[[bytes], bytes]
    open_disk: Callable[[str], int]
    ioctl: Callable[[str, int, bytes], bytes]
    client: Callable[..., None]
    hwpoison: Callable[[int, int, int, int], None]


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group at the other end."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid, gid


class Server:
    """Answers requests on a socket, in a thread of its own; takes no lock that an operation of the engine holds.

    ``backing_fd(minor)`` gives the descriptor of a device's file, ``register_alias(minor, fd)``
    learns of a node; both raise KernelError to refuse. ``refused(minor, comm, why)`` logs that a
    program's mapping was refused. What else is asked for is the handlers'.
    """

    def __init__(
        self,
        path: Path,
        backing_fd: Callable[[int], int],
        register_alias: Callable[[int, int], None],
        handlers: Handlers,
        refused: Callable[[int, str, Mapping[str, int]], None],
    ) -> None:
        self._backing_fd = backing_fd
        self._register_alias = register_alias
        self._handlers = handlers
        self._refused = refused
        self.agents = Agents()
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._wake_end, self._wake = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_end, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, name="daxemu-server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._refuse_one(listener)
            return
        connection.settimeout(5)
        self._selector.register(connection, selectors.EVENT_READ, self._receive)

    def _refuse_one(self, listener: socket.socket) -> None:
        """No descriptor is left: give up the spare one to turn a client away, who else would wait."""
        os.close(self._spare)
        with suppress(OSError):
            listener.accept()[0].close()
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _drop(self, connection: socket.socket) -> None:
        agent = self.agents.remove(connection)
        if agent is not None:
            self._handlers.client(agent.pid, attached=False)
        with suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()

    def _receive(self, connection: socket.socket) -> None:
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(connection, _LONGEST, 4, socket.MSG_CMSG_CLOEXEC)
            request = self._parse(data)
            if request is None:
                self._drop(connection)
            elif request["type"] in _SLOW:
                self._selector.unregister(connection)
                threading.Thread(target=self._serve_slowly, args=(connection, request, data), daemon=True).start()
            elif request["type"] == layout.LOG:
                self._log(connection, request, data[layout.MESSAGE.size :])
            else:
                self._answer(connection, request, fds)
        except (OSError, RuntimeError):  # RuntimeError: no thread can be started
            self._drop(connection)
        finally:
            for fd in fds:
                os.close(fd)

    @staticmethod
    def _parse(data: bytes) -> dict[str, int] | None:
        """The request, or None for what is none of ours: wrong length, magic or version."""
        if len(data) < layout.MESSAGE.size:
            return None
        request = layout.MESSAGE.unpack(data)
        if len(data) > layout.MESSAGE.size and request["type"] not in (*_WITH_BODY, layout.LOG):
            return None
        expected = (layout.MESSAGE_MAGIC, layout.WIRE_VERSION, len(data))
        return request if (request["magic"], request["version"], request["length"]) == expected else None

    def _serve_slowly(self, connection: socket.socket, request: dict[str, int], data: bytes) -> None:
        status, answer, fds = 0, b"", list[int]()
        try:
            if request["type"] == layout.OPEN_DISK:
                fds = [self._handlers.open_disk(data[layout.MESSAGE.size :].decode(errors="replace"))]
            answer = self._carry_out(connection, request, data[layout.MESSAGE.size :])
        except OSError as error:  # KernelError, or no memory to carry it out
            status = -(error.errno or errno.EIO)
        except UsageError:  # the engine is just closing
            status = -errno.ENODEV
        except Exception as error:  # whatever it is, the client must get an answer
            print(f"daxemu: request {data[layout.MESSAGE.size :]!r}: {error!r}", file=sys.stderr)
            status = -errno.EIO
        with connection, suppress(OSError):
            head = request | {"status": status, "length": layout.MESSAGE.size + len(answer)}
            socket.send_fds(connection, [layout.MESSAGE.pack(**head) + answer], fds)

    def _carry_out(self, connection: socket.socket, request: dict[str, int], body: bytes) -> bytes:
        match request["type"]:
            case layout.STORE:
                path, _, text = body.partition(b"\0")
                self._handlers.store(path.decode(errors="replace"), text)
            case layout.ASK_TO_OPEN:
                self._handlers.may_open(request["minor"])
            case layout.SHOW_TREE:
                self._handlers.show_tree()
            case layout.SHOW_MACHINE:
                self._handlers.show_machine()
            case layout.IOCTL:
                name, _, argument = body.partition(b"\0")
                return self._handlers.ioctl(name.decode(errors="replace"), request["serial"], argument)
            case layout.HWPOISON if len(body) == layout.CHECK.size:
                check = layout.CHECK.unpack(body)
                self._handlers.hwpoison(_credentials(connection)[0], check["minor"], check["first"], check["end"])
            case layout.COMMAND:
                if _credentials(connection)[1] not in (0, os.geteuid()):
                    raise KernelError(errno.EPERM, "only the user of a session commands it")
                return self._handlers.command(body)
        return b""

    def _log(self, connection: socket.socket, request: dict[str, int], data: bytes) -> None:
        if len(data) >= layout.REFUSAL.size:
            comm = data[layout.REFUSAL.size :].decode(errors="replace")
            self._refused(request["minor"], comm, layout.REFUSAL.unpack(data))
        connection.send(layout.MESSAGE.pack(**(request | {"length": layout.MESSAGE.size})))

    def _answer(self, connection: socket.socket, request: dict[str, int], fds: list[int]) -> None:
        status, answer_fd = 0, -1
        try:
            match request["type"]:
                case layout.OPEN:
                    answer_fd = self._backing_fd(request["minor"])
                case layout.AGENT:
                    self._adopt(connection)
                case layout.REGISTER_NODE if fds:
                    self._register_alias(request["minor"], fds[0])
                case _:
                    status = -errno.ENOSYS
        except KernelError as error:
            status = -(error.errno or errno.EIO)
        socket.send_fds(
            connection, [layout.MESSAGE.pack(**(request | {"status": status}))], [answer_fd] if answer_fd >= 0 else []
        )

    # -- agents -------------------------------------------------------------------------------

    def _adopt(self, connection: socket.socket) -> None:
        """From now on the engine speaks first on this connection."""
        agent = Agent(_credentials(connection)[0], connection)
        self._selector.modify(connection, selectors.EVENT_READ, lambda _: self._hear(agent))
        self.agents.add(agent)
        self._handlers.client(agent.pid, attached=True)

    def _hear(self, agent: Agent) -> None:
        """An agent has answered, or its process has ended."""
        try:
            answer = self._parse(agent.connection.recv(layout.MESSAGE.size + 1))
        except OSError:
            answer = None
        if answer is None:
            self._drop(agent.connection)
        else:
            self.agents.heard(agent, answer)

    def close(self) -> None:
        """Stop serving; every connection ends."""
        self._wake.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        os.close(self._spare)
        self._wake.close()
