"""Where the code of recorded programs lay, to tell call sites by file and line."""

from __future__ import annotations

import os
import sys
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

__all__ = ["SOURCES", "Sources", "read_modules"]

SOURCES = 1 << 62  # from here on, where no program has code, addresses are lines of Python
_LINES = 1 << 24  # of a file, at most


def read_modules(fd: int) -> list[dict[str, Any]]:
    """Mappings of code among the lines of /proc/PID/maps in a file, each once."""
    text = os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")
    found: dict[str, dict[str, Any]] = {}
    for line in text.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].startswith("/"):
            start, _, end = fields[0].partition("-")
            path = fields[5].removesuffix(" (deleted)")
            module = {"start": int(start, 16), "end": int(end, 16), "offset": int(fields[2], 16), "path": path}
            found[f"{fields[0]} {path}"] = module
    ids = {path: _build_id(path) for path in {module["path"] for module in found.values()}}
    return [module | {"build_id": ids[module["path"]]} for module in found.values()]


def _build_id(path: str) -> str | None:
    """What the linker noted to tell this build from others."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            for section in ELFFile(file).iter_sections():
                for note in section.iter_notes() if isinstance(section, NoteSection) else ():
                    if note["n_type"] == "NT_GNU_BUILD_ID":
                        return str(note["n_desc"])
    except (OSError, ELFError):
        pass
    return None


class Sources:
    """Files of Python, as modules whose addresses are their lines."""

    def __init__(self) -> None:
        self._starts: dict[str, int] = {}

    def site(self) -> int:
        """The address of the line that has called daxemu."""
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals.get("__name__", "").startswith("daxemu."):
            frame = frame.f_back
        start = self._starts.setdefault(frame.f_code.co_filename, SOURCES + len(self._starts) * _LINES)
        return start + frame.f_lineno

    def modules(self) -> list[dict[str, Any]]:
        """As ``read_modules`` does it."""
        return [
            {"start": start, "end": start + _LINES, "offset": 0, "path": path, "build_id": None}
            for path, start in self._starts.copy().items()
        ]
