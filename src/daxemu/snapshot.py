"""DaxSnapshot: what a device held at one time, to be put back."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daxemu.backing import BackingFile

__all__ = ["DaxSnapshot"]


class DaxSnapshot:
    """The bytes of a device as they were. Made by ``DaxDevice.snapshot``; a context manager."""

    def __init__(self, name: str, backing: BackingFile) -> None:
        self._name = name
        self._file = backing.clone(f"{name} snapshot")
        self.size = backing.size

    def __repr__(self) -> str:
        return f"<DaxSnapshot of {self._name}, {self.size} bytes>"

    def __enter__(self) -> DaxSnapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give its memory back. It cannot be restored from then on."""
        self._file.close()
