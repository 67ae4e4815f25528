"""Start a program so that it sees the devices."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from daxemu.launch.elf import ProgramRefusedError, find_program, inspect_program

__all__ = ["check_reachable", "popen", "run"]

Arguments = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def check_reachable(name: str, environment: Mapping[str, str], directory: str | None = None) -> None:
    """Raise ProgramNotFoundError if there is no such program, ProgramRefusedError if it would not see the devices."""
    program = inspect_program(find_program(name, environment.get("PATH"), directory))
    if program.obstacle:
        raise ProgramRefusedError(f"{name} would not see the devices: {program.obstacle}; {program.remedy}")


def _prepare(variables: Mapping[str, str], args: Arguments, options: dict[str, Any]) -> None:
    """Complete subprocess's options; refuse what cannot work."""
    given = options.get("env")
    environment = {os.fsdecode(k): os.fsdecode(v) for k, v in (os.environ if given is None else given).items()}
    options["env"] = {**environment, **variables}
    if options.get("shell"):
        name = options.get("executable") or "/bin/sh"
    else:
        first = args if isinstance(args, (str, os.PathLike)) else args[0]
        name = options.get("executable") or first
    directory = options.get("cwd")
    check_reachable(os.fspath(name), environment, None if directory is None else os.fspath(directory))


def run(variables: Mapping[str, str], args: Arguments, **options: Any) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run`` with the session's variables added to the environment."""
    _prepare(variables, args, options)
    return subprocess.run(args, **options)


def popen(variables: Mapping[str, str], args: Arguments, **options: Any) -> subprocess.Popen[Any]:
    """``subprocess.Popen`` with the session's variables added to the environment."""
    _prepare(variables, args, options)
    return subprocess.Popen(args, **options)
