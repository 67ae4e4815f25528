"""daxemu: Linux device-DAX in user space, for people who test storage software.

The names are loaded when they are first used: pytest imports this package in every run of a
project that has it installed, also in those that need no device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daxemu.device import DaxDevice
    from daxemu.engine import Engine
    from daxemu.errors import DaxBusError, DaxemuError, KernelError, UnavailableError, UsageError
    from daxemu.faults import Fault, Faults
    from daxemu.file import DaxFile
    from daxemu.hookspecs import hookimpl
    from daxemu.kernel.uevent import Uevent
    from daxemu.kmsg import Kmsg, KmsgRecord
    from daxemu.mapping import DaxMapping
    from daxemu.memory import DaxMemory
    from daxemu.monitor import Monitor
    from daxemu.region import DaxRegion
    from daxemu.snapshot import DaxSnapshot

__all__ = [
    "DaxBusError",
    "DaxDevice",
    "DaxFile",
    "DaxMapping",
    "DaxMemory",
    "DaxRegion",
    "DaxSnapshot",
    "DaxemuError",
    "Engine",
    "Fault",
    "Faults",
    "KernelError",
    "Kmsg",
    "KmsgRecord",
    "Monitor",
    "Uevent",
    "UnavailableError",
    "UsageError",
    "hookimpl",
]

__version__ = "0.1.0"

_HOMES = {
    "DaxDevice": "device",
    "DaxRegion": "region",
    "DaxSnapshot": "snapshot",
    "Engine": "engine",
    "DaxBusError": "errors",
    "DaxemuError": "errors",
    "KernelError": "errors",
    "UnavailableError": "errors",
    "UsageError": "errors",
    "DaxFile": "file",
    "Fault": "faults",
    "Faults": "faults",
    "hookimpl": "hookspecs",
    "Uevent": "kernel.uevent",
    "Kmsg": "kmsg",
    "KmsgRecord": "kmsg",
    "DaxMapping": "mapping",
    "DaxMemory": "memory",
    "Monitor": "monitor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'daxemu' has no attribute {name!r}")
    value = getattr(import_module(f"daxemu.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
