"""What the command line asks of a running engine: JSON in, JSON out.

A request is an object: ``command`` with the name of one of ``COMMANDS``, ``arguments`` with its
arguments by name. The answer is an object with ``result``, or with ``error``: one line for people.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from daxemu.errors import DaxemuError, UsageError
from daxemu.session import layout

if TYPE_CHECKING:
    from daxemu.device import DaxDevice
    from daxemu.engine import Engine
    from daxemu.faults import Fault

__all__ = ["COMMANDS", "DEVICE_VERBS", "REGION_VERBS", "answer"]

# Verbs of `daxemu device` and `daxemu region`: what people read about each.
DEVICE_VERBS = {
    "kill": "dead, still bound: mappings are revoked, opens answer ENXIO",
    "revive": "alive again, with the old mappings and files",
    "unbind": "taken from its driver",
    "bind": "given to a driver (--driver, by default device_dax)",
    "unplug": "surprise removal: it vanishes, with what is in it",
    "replug": "returns as it was, with its bytes; old files stay dead",
    "read-only": "opens and mappings for writing are refused",
    "read-write": "they are allowed again",
    "inject-poison": "memory breaks (--offset, --length): a touch is SIGBUS",
    "clear-poison": "it is mended: all, or --offset and --length",
    "list-poison": "prints what is broken (--json)",
    "record": "what programs make durable is recorded from now on (--output, --scan)",
    "stop-recording": "the recording ends, and is complete",
    "power-fail": "power goes and comes back: what was not durable may be lost (--policy)",
}
REGION_VERBS = {
    "unplug": "surprise removal of the region with its devices",
    "replug": "returns as at boot, with its bytes",
    "remove": "gone for good, with its bytes",
}


def _on_device(engine: Engine, name: str, verb: str, **more: Any) -> Any:
    """``driver`` is for bind; ``offset`` and ``length``, sizes in bytes or as texts, are for the verbs of poison.

    ``directory``, a whole path, and ``scan`` are for record, ``policy`` is for power-fail. list-poison results in
    the broken parts, each offset and length in bytes; power-fail in how many lines have lost something; record in
    a line about each program that does not take part.
    """
    if verb == "stop-recording":
        return _stop_recording(engine, name.removeprefix("/dev/"))
    device: DaxDevice = engine._find_device(name)
    match verb:
        case "bind":
            device.bind(**more)
        case "inject-poison":
            device.inject_poison(**more)
        case "clear-poison":
            device.clear_poison(**more)
        case "list-poison":
            return device.poison
        case "power-fail":
            return device.power_fail(**more)
        case "record":
            return device.record(**more).late
        case "read-only" | "read-write":
            device.read_only = verb == "read-only"
        case "kill" | "revive" | "unbind" | "unplug" | "replug":
            getattr(device, verb)(**more)
        case _:
            raise UsageError(f"unknown verb {verb!r}; there are: {', '.join(DEVICE_VERBS)}")
    return None


def _stop_recording(engine: Engine, name: str) -> None:
    """Also of a device that is there no more."""
    for device, recorder in engine._recorders.items():
        if device.name == name:
            recorder.close()
            return
    raise UsageError(f"{name} is not being recorded")


def _on_region(engine: Engine, number: int, verb: str) -> None:
    if verb not in REGION_VERBS:
        raise UsageError(f"unknown verb {verb!r}; there are: {', '.join(REGION_VERBS)}")
    getattr(engine._find_region(number), verb)()


def _reboot(engine: Engine, policy: str | int) -> int:
    return engine.reboot(policy)


def _add_region(engine: Engine, spec: str) -> list[str]:
    from daxemu.spec import RegionSpec

    return [device.name for device in RegionSpec.parse(spec).add_to(engine).devices]


def _as_object(fault: Fault) -> dict[str, Any]:
    names = ("id", "point", "path", "errno", "delay", "after", "times", "hits")
    described = {name: getattr(fault, name) for name in names}
    return described | {"errno": errno.errorcode.get(fault.errno), "what": fault.describe()}


def _add_fault(engine: Engine, **what: Any) -> dict[str, Any]:
    return _as_object(engine.faults.add(**what))


def _list_faults(engine: Engine) -> list[dict[str, Any]]:
    return [_as_object(fault) for fault in engine.faults]


def _remove_fault(engine: Engine, number: int | None = None) -> None:
    """Remove one, or all."""
    if number is None:
        engine.faults.clear()
        return
    for fault in engine.faults:
        if fault.id == number:
            fault.remove()
            return
    raise UsageError(f"no fault {number}; there are: {', '.join(str(fault.id) for fault in engine.faults) or 'none'}")


COMMANDS: dict[str, Callable[..., Any]] = {
    "device": _on_device,
    "region": _on_region,
    "reboot": _reboot,
    "add-region": _add_region,
    "add-fault": _add_fault,
    "list-faults": _list_faults,
    "remove-fault": _remove_fault,
}


def answer(engine: Engine, request: bytes) -> bytes:
    """Carry a request out. Whatever is wrong with it is said in the answer."""
    try:
        asked = json.loads(request)
        command, arguments = COMMANDS[asked["command"]], dict(asked["arguments"])
    except (ValueError, KeyError, TypeError):
        return _pack(error="this is no command that this version of daxemu knows")
    try:
        return _pack(result=command(engine, **arguments))
    except DaxemuError as error:
        return _pack(error=str(error))
    except (TypeError, ValueError, AttributeError) as error:  # arguments that the command does not take
        return _pack(error=f"{asked['command']}: {error}")


def _pack(**members: Any) -> bytes:
    data = json.dumps(members).encode()
    return (
        data
        if len(data) <= layout.COMMAND_MOST
        else _pack(error="the answer is too long; remove some faults, or mend some poison")
    )
