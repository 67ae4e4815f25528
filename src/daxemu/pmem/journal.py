"""What an exploration has done so far, kept in the recording's directory, so that one that is interrupted can go on."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daxemu.errors import UsageError
from daxemu.pmem.exploration import CrashFailure, MissingLine, Part
from daxemu.pmem.states import State

__all__ = ["JOURNAL", "Journal"]

JOURNAL = "exploration.jsonl"
_SECONDS = 0.1  # of work that a kill may lose; shorter explorations write nothing


class Journal:
    """One line says what is explored and how, each further one what came of a part. A context manager.

    It is written from time to time and at the end, unless all is done: then it is removed. An exploration that
    finds the journal locked by another, or cannot write there, goes without.
    """

    def __init__(self, directory: Path, options: dict[str, Any]) -> None:
        self._path = directory / JOURNAL
        self._options: dict[str, Any] = json.loads(json.dumps(options))
        self._fd = -1
        self._lines: list[str] = []
        self._written = time.monotonic()
        self._usable = True

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write()
        finally:
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def resume(self) -> list[tuple[Part, float]]:
        """Return the parts of the journal that there is, and after how many seconds each was done.

        UsageError: it is of an exploration with other options, or one that still runs.
        """
        if not self._path.exists():
            return []
        if not self._open():
            raise UsageError(
                f"{self._path}: it cannot be resumed: another exploration is at it, or it may not be written"
            )
        good, parts = 0, []
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        for line in data.splitlines(keepends=True):
            try:
                entry = json.loads(line)
                if not line.endswith(b"\n"):
                    break
                if good == 0:
                    self._refuse_others(entry)
                else:
                    parts.append((_part(entry), float(entry["seconds"])))
            except (ValueError, KeyError, TypeError) as error:
                if isinstance(error, UsageError):
                    raise
                break  # what was being written when it was killed
            good += len(line)
        os.ftruncate(self._fd, good)
        if not good:
            self._begin()
        return parts

    def _refuse_others(self, before: dict[str, Any]) -> None:
        others = {name for name in before.keys() | self._options.keys() if before.get(name) != self._options.get(name)}
        if others:
            told = ", ".join(f"{name} was {before.get(name)!r}" for name in sorted(others))
            raise UsageError(
                f"{self._path.parent}: what was interrupted there is another exploration: {told}; give the same, or "
                "leave resume out to begin anew"
            )

    def add(self, part: Part, seconds: float) -> None:
        """Keep what came of a part."""
        self._lines.append(json.dumps(asdict(part) | {"seconds": round(seconds, 3)}) + "\n")
        if time.monotonic() - self._written >= _SECONDS:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._lines and self._usable and (self._fd >= 0 or self._open(anew=True)):
            os.lseek(self._fd, 0, os.SEEK_END)
            os.write(self._fd, "".join(self._lines).encode())
        self._lines.clear()

    def _open(self, *, anew: bool = False) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._usable = False
            self._close()
            return False
        if anew:
            os.ftruncate(self._fd, 0)
            self._begin()
        return True

    def _begin(self) -> None:
        os.write(self._fd, (json.dumps(self._options) + "\n").encode())

    @property
    def kept(self) -> bool:
        """Is what was done kept?"""
        return self._fd >= 0 or (bool(self._lines) and self._usable)

    def remove(self) -> None:
        """All is done."""
        self._lines.clear()
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)


def _part(entry: dict[str, Any]) -> Part:
    failures = [
        CrashFailure(
            State(failure["state"][0], tuple((at, number) for at, number in failure["state"][1])),
            failure["reason"],
            tuple(MissingLine(**missing) for missing in failure["missing"]),
            tuple(failure["markers"]),
            failure["states"],
            failure["unsteady"],
        )
        for failure in entry["failures"]
    ]
    numbers = {name: entry[name] for name in ("begin", "end", "sampled", "untried", "states", "failed")}
    return Part(**numbers, failures=failures)
