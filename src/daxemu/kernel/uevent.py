"""Uevents: what the kernel tells user space about its objects, and how programs have it told again."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from daxemu.errors import KernelError

__all__ = ["ACTIONS", "HasKobject", "Kobject", "Uevent", "parse_synthetic"]

ACTIONS = ("add", "remove", "change", "move", "online", "offline", "bind", "unbind")

# Compiled when first used: a start of a program uses none of them.
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ARGUMENT = r" ([0-9A-Za-z]+)=([0-9A-Za-z]+)"


class Kobject(NamedTuple):
    """Something that uevents can be about.

    ``devpath`` is its path below /sys, ``subsystem`` what it belongs to (nobody is told of what
    belongs to nothing), ``variables`` what an event about it says. ``log_name`` is what the
    kernel's log calls it, where it is a device.
    """

    devpath: str
    subsystem: str
    variables: Mapping[str, str]
    log_name: str | None = None

    def uevent_file(self) -> str:
        """What its file ``uevent`` shows."""
        return "".join(f"{name}={value}\n" for name, value in self.variables.items())


class HasKobject(Protocol):
    """An object of the model that is one of those."""

    def kobject(self) -> Kobject:
        """What it is now."""


class Uevent(NamedTuple):
    """One uevent, as udev receives it.

    ``action`` is ``add``, ``remove``, ``bind`` and so on; ``device_path`` the object's path below
    /sys; ``properties`` holds all variables in the kernel's order.
    """

    action: str
    device_path: str
    subsystem: str
    sequence_number: int
    properties: Mapping[str, str]

    @property
    def sys_name(self) -> str:
        """Last part of the path, ``dax0.0``."""
        return self.device_path.rpartition("/")[2]

    @property
    def device_node(self) -> str | None:
        """``/dev/dax0.0``; None for what has no node."""
        name = self.properties.get("DEVNAME")
        return f"/dev/{name}" if name else None

    @property
    def driver(self) -> str | None:
        """The driver that the object is bound to; None without one."""
        return self.properties.get("DRIVER")

    @classmethod
    def about(cls, action: str, kobject: Kobject, sequence_number: int, extra: Mapping[str, str]) -> Uevent:
        """Put an event together. What is being unbound tells no MODALIAS: it is not to be bound again at once."""
        properties = {"ACTION": action, "DEVPATH": kobject.devpath, "SUBSYSTEM": kobject.subsystem}
        properties |= extra
        properties |= kobject.variables
        if action == "unbind":
            properties.pop("MODALIAS", None)
        properties["SEQNUM"] = str(sequence_number)
        return cls(action, kobject.devpath, kobject.subsystem, sequence_number, properties)


def _arguments(text: str) -> dict[str, str]:
    """``UUID KEY=VALUE …``, letters and digits only, one blank between."""
    uuid = re.match(_UUID, text)
    if uuid is None:
        raise KernelError(errno.EINVAL, "incorrect uevent action arguments")
    found, at = {"SYNTH_UUID": uuid[0]}, uuid.end()
    while at < len(text):
        argument = re.match(_ARGUMENT, text[at:])
        if argument is None:
            raise KernelError(errno.EINVAL, "incorrect uevent action arguments")
        found[f"SYNTH_ARG_{argument[1]}"] = argument[2]
        at += argument.end()
    return found


def parse_synthetic(text: str) -> tuple[str, dict[str, str]]:
    """Read what is written to ``uevent``: an action, and perhaps a UUID and ``KEY=VALUE`` pairs.

    Returns the action and what the event says on top. EINVAL: no action, or arguments not so.
    """
    action, blank, rest = text.removesuffix("\n").partition(" ")
    if action not in ACTIONS:
        raise KernelError(errno.EINVAL, "unknown uevent action string")
    return action, _arguments(rest) if blank else {"SYNTH_UUID": "0"}
