"""Persistence: what survives a power failure, recordings of what programs made durable, crash states.

The public names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daxemu.pmem.exploration import CrashFailure, Exploration, MissingLine
    from daxemu.pmem.explorer import explore
    from daxemu.pmem.findings import Finding
    from daxemu.pmem.reader import Recording
    from daxemu.pmem.states import State

__all__ = ["CrashFailure", "Exploration", "Finding", "MissingLine", "Recording", "State", "explore"]

_HOMES = {
    "CrashFailure": "exploration",
    "Exploration": "exploration",
    "MissingLine": "exploration",
    "explore": "explorer",
    "Finding": "findings",
    "Recording": "reader",
    "State": "states",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'daxemu.pmem' has no attribute {name!r}")
    value = getattr(import_module(f"daxemu.pmem.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
