"""Sessions seen from outside: what devices do running engines show?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from daxemu.errors import UsageError
from daxemu.session import layout
from daxemu.session.directory import SessionDirectory, session_directories

__all__ = ["ListedDevice", "list_devices"]


@dataclass(frozen=True)
class ListedDevice:
    """One device of one session; sizes in bytes."""

    chardev: str
    devt: str
    size: int
    align: int
    alive: bool
    session: str
    pid: int


def _devices(session: Path) -> list[ListedDevice]:
    data = (session / "table").read_bytes()
    if len(data) < layout.TABLE_SIZE:  # it is being made
        return []
    header = layout.HEADER.unpack(data)
    if header["magic"] != layout.TABLE_MAGIC or header["version"] != layout.WIRE_VERSION:
        return []
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


def list_devices() -> list[ListedDevice]:
    """Return the devices of all running sessions of this user; inside a session, of that one."""
    own = os.environ.get("DAXEMU_SESSION")
    if own:
        try:
            return _devices(Path(own))
        except OSError as error:
            raise UsageError(f"DAXEMU_SESSION={own}: {error.strerror}; unset it, that session has ended") from error
    found = []
    for session in session_directories():
        try:
            if not SessionDirectory.is_orphan(session):
                found += _devices(session)
        except FileNotFoundError:  # it ends just now
            continue
    return found
