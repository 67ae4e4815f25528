"""A machine's state on disk: what there is, in one file that is replaced as a whole, and the memory beside it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from daxemu.errors import UsageError

__all__ = ["StateDirectory"]

_VERSION = 1


class StateDirectory:
    """The directory of ``Engine(state=DIR)``. Made if it is not there; one engine at a time.

    ``state.json`` says which regions and devices there are; a crash at any instant leaves the one
    before a change or the one after it. ``memory`` has the devices' bytes, as files of the backing
    store ``file``. UsageError: it is in use, cannot be written, or has a state that this version
    cannot read, which is then left as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.memory = self.path / "memory"
        try:
            self.memory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"state {self.path}: {error.strerror}; name a directory that may be written to") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._saved = self._load()
        except BlockingIOError:
            os.close(self._lock)
            raise UsageError(f"state {self.path} is in use by another engine; end that one first") from None
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def saved(self) -> dict[str, Any] | None:
        """What was there last; None in a new directory."""
        return self._saved

    def _load(self) -> dict[str, Any] | None:
        file = self.path / "state.json"
        try:
            state = json.loads(file.read_bytes())
            version = state["version"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{file} is no state that can be read ({error}); move it away to begin anew") from error
        if version != _VERSION:
            raise UsageError(
                f"{file} is of version {version}, this daxemu reads version {_VERSION}; use the daxemu that wrote it"
            )
        machine = state.get("machine")
        if not isinstance(machine, dict):
            raise UsageError(f"{file} is no state that can be read (no machine); move it away to begin anew")
        return machine

    def save(self, machine: dict[str, Any], files: Iterable[str]) -> None:
        """Keep what there is now, if it is not what there was; then drop memory that no device has any more.

        OSError: it could not be written; the state before is kept.
        """
        if machine == self._saved:
            return
        new = self.path / "state.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump({"version": _VERSION, "machine": machine}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / "state.json")
        self._saved = machine
        self.sweep(files)

    def sweep(self, files: Iterable[str]) -> None:
        """Remove memory that is none of these files."""
        kept = set(files)
        for path in self.memory.iterdir():
            if path.name not in kept:
                path.unlink()

    def close(self) -> None:
        """Let another engine have it."""
        os.close(self._lock)
