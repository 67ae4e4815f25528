"""What kind of program is it, and can a preload library reach it?"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from daxemu._core import elf_facts
from daxemu.errors import DaxemuError

__all__ = ["Program", "ProgramNotFoundError", "ProgramRefusedError", "find_program", "inspect_program"]

_MACHINES = {"x86_64": 62, "aarch64": 183, "i386": 3, "arm": 40, "riscv64": 243, "ppc64": 21, "s390x": 22}

_DEEPEST_SCRIPT = 5  # then execve(2) answers ELOOP


class ProgramNotFoundError(DaxemuError, FileNotFoundError):
    """There is no such program: exit status 127 of a shell."""


class ProgramRefusedError(DaxemuError, PermissionError):
    """It cannot be started, or not so that it sees the devices: exit status 126 of a shell."""


class Program(NamedTuple):
    """What is known of a program. ``obstacle`` says why daxemu cannot reach it, "" if it can.

    ``interpreter`` is the dynamic loader, or what runs a script.
    """

    path: Path
    kind: str
    libc: str = ""
    machine: str = ""
    interpreter: Path | None = None
    obstacle: str = ""
    remedy: str = ""


def find_program(name: str, search: str | None = None, directory: str | None = None) -> Path:
    """Return the file that execvp would start. Raises ProgramNotFoundError or ProgramRefusedError."""
    if "/" not in name:
        for where in (os.environ.get("PATH", os.defpath) if search is None else search).split(os.pathsep):
            path = Path(where, name)
            if os.access(path, os.X_OK) and not path.is_dir():
                return path
        raise ProgramNotFoundError(f"{name}: no such program in PATH")
    path = Path(directory or "", name)
    if not path.exists():
        raise ProgramNotFoundError(f"{name}: no such file")
    if path.is_dir() or not os.access(path, os.X_OK, effective_ids=True):
        raise ProgramRefusedError(f"{name}: not an executable file; try chmod +x, or name its interpreter")
    return path


def inspect_program(path: Path) -> Program:
    """Look into a program. Raises ProgramRefusedError if it is none."""
    return _inspect(path, 0)


def _inspect(path: Path, depth: int) -> Program:
    try:
        facts = elf_facts(path)
        line = b"" if facts else _first_line(path)
    except PermissionError:  # executable and not readable: started as it is
        return Program(path, "unreadable")
    return _elf(path, *facts) if facts else _script(path, line, depth)


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(4096)


def _script(path: Path, line: bytes, depth: int) -> Program:
    words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
    if not words:
        raise ProgramRefusedError(f"{path}: neither an ELF program nor a script with #!")
    if Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word] or words
    if depth == _DEEPEST_SCRIPT:
        raise ProgramRefusedError(f"{path}: a script run by a script, and so on, more often than the kernel follows")
    interpreter = find_program(words[0])
    inner = _inspect(interpreter, depth + 1)
    runs_it = inner.interpreter if inner.kind == "script" else interpreter
    return inner._replace(path=path, kind="script", interpreter=runs_it)


def _elf(path: Path, number: int, interpreter: str | None) -> Program:
    machine = next((name for name, value in _MACHINES.items() if value == number), f"machine {number}")
    obstacle, remedy = "", ""
    if number != _MACHINES.get(os.uname().machine, number):
        obstacle, remedy = f"it is for another machine ({machine})", "use a program built for this one"
    elif interpreter is None:
        obstacle, remedy = "it is statically linked", "use a dynamically linked build of it"
    elif _gains_privileges(path):
        obstacle = "it is setuid, setgid or has file capabilities"
        remedy = "run a copy without them, or run it as its owner"
    loader = Path(interpreter) if interpreter else None
    kind = "dynamic" if interpreter else "static"
    return Program(path, kind, _libc(interpreter), machine, loader, obstacle, remedy)


def _libc(interpreter: str | None) -> str:
    if interpreter is None:
        return ""
    return "musl" if "ld-musl" in interpreter else "glibc" if "ld-linux" in interpreter else Path(interpreter).name


def _gains_privileges(path: Path) -> bool:
    """Would the loader drop LD_PRELOAD? It does where the program runs with more rights than its caller."""
    status = path.stat()
    if status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid():
        return True
    if status.st_mode & stat.S_ISGID and status.st_gid not in (os.getegid(), *os.getgroups()):
        return True
    try:
        return bool(os.getxattr(path, "security.capability")) and os.geteuid() != 0
    except OSError:
        return False
