"""daxemu: Linux device-DAX in user space, for people who test storage software."""

from daxemu.engine import DaxDevice, DaxRegion, Engine
from daxemu.errors import DaxBusError, DaxemuError, KernelError, UsageError
from daxemu.file import DaxFile
from daxemu.hookspecs import hookimpl
from daxemu.mapping import DaxMapping

__all__ = [
    "DaxBusError",
    "DaxDevice",
    "DaxFile",
    "DaxMapping",
    "DaxRegion",
    "DaxemuError",
    "Engine",
    "KernelError",
    "UsageError",
    "hookimpl",
]

__version__ = "0.1.0"
