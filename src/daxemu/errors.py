"""Every exception that daxemu raises on purpose."""

from __future__ import annotations

import errno as _errno
import os

__all__ = ["DaxBusError", "DaxemuError", "KernelError", "UnavailableError", "UsageError"]


class DaxemuError(Exception):
    """Base of all daxemu exceptions. Its text is one line for the person who reads it."""


class UsageError(DaxemuError, ValueError):
    """The request makes no sense as asked: unknown backend, malformed size, missing program.

    The text says what was asked, what is wrong and how to put it right.
    """


class UnavailableError(UsageError):
    """What was asked for exists, but not on this machine; the text says why and what would help."""


class KernelError(DaxemuError, OSError):
    """An emulated kernel object refused an operation.

    ``errno`` is what the real kernel answers; ``strerror`` says which rule refused it.
    """

    def __init__(self, errno: int, reason: str = "") -> None:
        super().__init__(errno, reason or os.strerror(errno))

    def __str__(self) -> str:
        name = _errno.errorcode.get(self.errno or 0, str(self.errno))
        return f"{self.strerror} [{name}]"


class DaxBusError(DaxemuError, OSError):
    """The access would have raised SIGBUS: the range was revoked, or lies past the device.

    ``errno`` is EFAULT, as when the kernel copies from such a range; ``address`` is the first
    byte that could not be reached, as an offset into the mapping.
    """

    def __init__(self, reason: str, address: int) -> None:
        super().__init__(_errno.EFAULT, reason)
        self.address = address

    def __reduce__(self) -> tuple[type[DaxBusError], tuple[str | None, int]]:
        return type(self), (self.strerror, self.address)

    def __str__(self) -> str:
        return str(self.strerror)
