"""What kind of program is it, and can a preload library reach it?"""

from __future__ import annotations

import os
import platform
import shutil
import stat
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from daxemu.errors import DaxemuError

__all__ = ["Program", "ProgramNotFoundError", "ProgramRefusedError", "find_program", "inspect_program"]

_MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}


class ProgramNotFoundError(DaxemuError, FileNotFoundError):
    """There is no such program: exit status 127 of a shell."""


class ProgramRefusedError(DaxemuError, PermissionError):
    """It cannot be started, or not so that it sees the devices: exit status 126 of a shell."""


@dataclass(frozen=True)
class Program:
    """What is known of a program. ``obstacle`` says why daxemu cannot reach it, "" if it can."""

    path: Path
    kind: str
    libc: str = ""
    machine: str = ""
    privileged: bool = False
    imports: frozenset[str] = frozenset()
    interpreter: Path | None = None
    obstacle: str = ""
    remedy: str = ""
    notes: tuple[str, ...] = ()


def find_program(name: str, search: str | None = None, directory: str | None = None) -> Path:
    """Return the file that execvp would start. Raises ProgramNotFoundError or ProgramRefusedError."""
    if "/" not in name:
        found = shutil.which(name, path=search)
        if found is None:
            raise ProgramNotFoundError(f"{name}: no such program in PATH")
        return Path(found)
    path = Path(directory or "", name)
    if not path.exists():
        raise ProgramNotFoundError(f"{name}: no such file")
    if path.is_dir() or not os.access(path, os.X_OK):
        raise ProgramRefusedError(f"{name}: not an executable file; try chmod +x, or name its interpreter")
    return path


def inspect_program(path: Path) -> Program:
    """Look into a program. Raises ProgramRefusedError if it cannot be read or is no program."""
    status = path.stat()
    return _inspect(path, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid, status.st_gid)


@lru_cache(maxsize=256)
def _inspect(path: Path, _mtime: int, _size: int, mode: int, owner: int, group: int) -> Program:
    try:
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                return _script(path, file.readline().decode(errors="replace"))
            file.seek(0)
            return _elf(path, ELFFile(file), mode, owner, group)
    except ELFError:
        raise ProgramRefusedError(f"{path}: neither an ELF program nor a script with #!") from None
    except PermissionError:
        return Program(path, "unreadable", notes=("the file cannot be read; it is started as it is",))


def _script(path: Path, line: str) -> Program:
    words = line.split()
    if words and Path(words[0]).name == "env" and len(words) > 1:
        interpreter = find_program(next((w for w in words[1:] if not w.startswith("-") and "=" not in w), "sh"))
    elif words:
        interpreter = find_program(words[0])
    else:
        raise ProgramRefusedError(f"{path}: a script whose #! names no interpreter")
    inner = inspect_program(interpreter)
    return replace(inner, path=path, kind="script", interpreter=interpreter)


def _elf(path: Path, elf: ELFFile, mode: int, owner: int, group: int) -> Program:
    machine = elf["e_machine"]
    interpreter = next(
        (segment.get_interp_name() for segment in elf.iter_segments() if isinstance(segment, InterpSegment)), None
    )
    privileged = _gains_privileges(path, mode, owner, group)
    go = elf.get_section_by_name(".note.go.buildid") is not None
    imports = _imports(elf)
    kind = "dynamic" if interpreter else "static"
    libc = _libc(interpreter)
    obstacle, remedy = "", ""
    if machine != _MACHINES.get(platform.machine(), machine):
        obstacle, remedy = f"it is for another machine ({machine})", "use a program built for this one"
    elif interpreter is None:
        obstacle, remedy = "it is statically linked", "use a dynamically linked build of it"
    elif privileged:
        obstacle, remedy = (
            "it is setuid, setgid or has file capabilities",
            "run a copy without them, or run as its owner",
        )
    notes = []
    if go:
        notes.append("a Go program makes its system calls itself: only what it does through the C library is seen")
    if libc == "musl":
        notes.append("musl: the preload library is built for glibc and needs gcompat here")
    loader = Path(interpreter) if interpreter else None
    return Program(path, kind, libc, machine, privileged, imports, loader, obstacle, remedy, tuple(notes))


def _libc(interpreter: str | None) -> str:
    if interpreter is None:
        return ""
    return "musl" if "ld-musl" in interpreter else "glibc" if "ld-linux" in interpreter else Path(interpreter).name


def _gains_privileges(path: Path, mode: int, owner: int, group: int) -> bool:
    """Would the loader drop LD_PRELOAD? It does where the program runs with more rights than its caller."""
    if mode & stat.S_ISUID and owner != os.geteuid():
        return True
    if mode & stat.S_ISGID and group not in (os.getegid(), *os.getgroups()):
        return True
    try:
        return bool(os.getxattr(path, "security.capability")) and os.geteuid() != 0
    except OSError:
        return False


def _imports(elf: ELFFile) -> frozenset[str]:
    symbols = elf.get_section_by_name(".dynsym")
    if not isinstance(symbols, SymbolTableSection):
        return frozenset()
    return frozenset(s.name for s in symbols.iter_symbols() if s["st_shndx"] == "SHN_UNDEF" and s.name)
