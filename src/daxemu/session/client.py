"""The command line's end of the wire: a command to the engine of a running session."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from daxemu.errors import DaxemuError, UsageError
from daxemu.session import layout

__all__ = ["command"]


def command(session: Path, name: str, /, **arguments: Any) -> Any:
    """Have the engine carry out one of ``daxemu.control.COMMANDS``; return its result.

    UsageError: it refuses, for a reason that it gives, or does not answer.
    """
    body = json.dumps({"command": name, "arguments": arguments}).encode()
    if len(body) > layout.COMMAND_MOST:
        raise UsageError(f"the request is longer than {layout.COMMAND_MOST} bytes")
    status, answer = _exchange(session, body)
    if status < 0:
        raise UsageError(f"session {session.name!r} refuses: {os.strerror(-status)}")
    said = json.loads(answer)
    if "error" in said:
        raise DaxemuError(said["error"])
    return said["result"]


def _exchange(session: Path, body: bytes) -> tuple[int, bytes]:
    head = layout.MESSAGE.pack(
        magic=layout.MESSAGE_MAGIC,
        version=layout.WIRE_VERSION,
        type=layout.COMMAND,
        length=layout.MESSAGE.size + len(body),
    )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(session / "sock"))
            connection.send(head + body)
            data = connection.recv(layout.MESSAGE.size + layout.COMMAND_MOST)
    except OSError as error:
        raise UsageError(f"session {session.name!r} does not answer: {error.strerror}") from error
    if len(data) < layout.MESSAGE.size:
        raise UsageError(f"session {session.name!r} does not know such commands: it is another version's, or it ends")
    return layout.MESSAGE.unpack(data)["status"], data[layout.MESSAGE.size :]
