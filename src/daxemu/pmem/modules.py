"""Where the code of recorded programs lay, to tell call sites by file and line."""

from __future__ import annotations

import os
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

__all__ = ["read_modules"]


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
