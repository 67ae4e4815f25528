"""Sessions seen from outside: which are there, and what devices do they show?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from daxemu.errors import UsageError
from daxemu.session import layout
from daxemu.session.directory import SessionDirectory, session_directories

__all__ = ["ListedDevice", "find_session", "list_devices", "running_sessions", "session_devices"]

_VARIABLE = "DAXEMU_SESSION"


class ListedDevice(NamedTuple):
    """One device of one session; sizes in bytes."""

    chardev: str
    devt: str
    size: int
    align: int
    alive: bool
    session: str
    pid: int


def _table(session: Path) -> bytes | None:
    """A session's table, None while it is being made or after its end. UsageError: of another version."""
    data = (session / "table").read_bytes()
    if len(data) < layout.TABLE_SIZE:
        return None
    header = layout.HEADER.unpack(data)
    if header["magic"] != layout.TABLE_MAGIC:
        return None
    if header["version"] != layout.WIRE_VERSION:
        raise UsageError(
            f"session {session}: made by another version of daxemu (protocol {header['version']}, this one "
            f"speaks {layout.WIRE_VERSION}); use the daxemu that process {header['owner_pid']} runs"
        )
    return data


def session_devices(session: Path) -> list[ListedDevice]:
    """Return the devices of one session. UsageError: it is of another version. OSError: there is none."""
    data = _table(session)
    if data is None:
        return []
    header = layout.HEADER.unpack(data)
    found = []
    for slot in range(header["nr_devices"]):
        device = layout.DEVICE.unpack(data[layout.DEVICES_OFFSET + slot * layout.DEVICE.size :])
        if device["flags"] & layout.DEVICE_PRESENT:
            found.append(
                ListedDevice(
                    chardev=f"dax{device['region']}.{device['id']}",
                    devt=f"{header['major']}:{device['minor']}",
                    size=device["size"],
                    align=device["align"],
                    alive=bool(device["flags"] & layout.DEVICE_ALIVE),
                    session=str(session),
                    pid=header["owner_pid"],
                )
            )
    return found


def running_sessions() -> list[Path]:
    """Return the directories of this user's sessions whose engines live."""
    running = []
    for path in session_directories():
        try:
            if not SessionDirectory.is_orphan(path) and _table(path) is not None:
                running.append(path)
        except OSError:  # it ends just now
            continue
        except UsageError:  # of another version, but running
            running.append(path)
    return running


def find_session(wanted: str | None = None) -> Path:
    """Return the directory of the session meant: by name, or by path if there is a slash in it.

    By default that of $DAXEMU_SESSION, else the only one that runs. UsageError: no such session, one
    that has ended, one of another version, none at all, or several.
    """
    if wanted is None and os.environ.get(_VARIABLE):
        return _checked(Path(os.environ[_VARIABLE]), f"{_VARIABLE}={os.environ[_VARIABLE]}", "unset it")
    if wanted is None:
        running = running_sessions()
        if len(running) == 1:
            return _checked(running[0], f"session {running[0].name!r}")
        if running:
            raise UsageError(f"several sessions are running: {_names(running)}; say which one with --session NAME")
        raise UsageError("no session is running; start one with: daxemu serve")
    if "/" in wanted:
        return _checked(Path(wanted).absolute(), f"session {wanted!r}")
    for path in session_directories():
        if path.name == wanted:
            return _checked(path, f"session {wanted!r}")
    raise UsageError(f"no session {wanted!r} is running; there are: {_names(running_sessions()) or 'none'}")


def _names(sessions: list[Path]) -> str:
    return ", ".join(path.name for path in sessions)


def _checked(session: Path, named: str, remedy: str = "'daxemu list' shows those that run") -> Path:
    """Raise UsageError unless it is a session that runs."""
    try:
        lives = _table(session) is not None and not SessionDirectory.is_orphan(session)
    except OSError as error:
        raise UsageError(f"{named}: {error.strerror}; {remedy}") from error
    if not lives:
        raise UsageError(f"{named}: that session has ended; {remedy}")
    return session


def list_devices(session: str | None = None) -> list[ListedDevice]:
    """Return the devices of all running sessions of this user; inside a session, or of one given, of that one."""
    if session or os.environ.get(_VARIABLE):
        return session_devices(find_session(session))
    found = []
    for path in running_sessions():
        try:
            found += session_devices(path)
        except (OSError, UsageError):  # it ends just now, or another version's daxemu lists it
            continue
    return found
