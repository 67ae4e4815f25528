"""Start a program so that it sees the devices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daxemu.launch.elf import ProgramRefusedError, find_program, inspect_program

if TYPE_CHECKING:
    import subprocess

    from daxemu.engine import Engine

__all__ = ["Launcher", "check_reachable", "program_environment"]

Argument = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Arguments = Argument | Sequence[Argument]


def check_reachable(name: str, environment: Mapping[str, str], directory: str | None = None) -> None:
    """Raise ProgramNotFoundError if there is no such program, ProgramRefusedError if it would not see the devices."""
    program = inspect_program(find_program(name, environment.get("PATH", os.defpath), directory))
    if program.obstacle:
        raise ProgramRefusedError(f"{name} would not see the devices: {program.obstacle}; {program.remedy}")


def program_environment(
    variables: Mapping[str, str], name: str, environment: Mapping[str, str], directory: str | None = None
) -> dict[str, str]:
    """Return an environment with a session's variables added, for a program; refuse one that cannot be reached.

    Libraries that the given environment preloads stay behind ours. Raises as ``check_reachable``.
    """
    check_reachable(name, environment, directory)
    libraries = [*variables["LD_PRELOAD"].split(), *environment.get("LD_PRELOAD", "").split()]
    return {**environment, **variables, "LD_PRELOAD": " ".join(dict.fromkeys(libraries))}


def _prepare(variables: Mapping[str, str], args: Arguments, options: dict[str, Any]) -> dict[str, Any]:
    """Return subprocess's options with the session's variables added; refuse what cannot work."""
    given = options.get("env")
    environment = {os.fsdecode(k): os.fsdecode(v) for k, v in (os.environ if given is None else given).items()}
    if options.get("shell"):
        name = options.get("executable") or "/bin/sh"
    else:
        first = args if isinstance(args, (str, bytes, os.PathLike)) else args[0]
        name = options.get("executable") or first
    directory = options.get("cwd")
    where = None if directory is None else os.fsdecode(directory)
    return options | {"env": program_environment(variables, os.fsdecode(name), environment, where)}


class Launcher:
    """What starts programs that see the devices: an engine, a region, a device."""

    @property
    def engine(self) -> Engine:
        """The engine whose devices the programs see."""
        raise NotImplementedError

    def run(self, args: Arguments, **kwargs: Any) -> subprocess.CompletedProcess[Any]:
        """``subprocess.run`` with the same arguments; the program sees every device of the engine.

        Raises PermissionError for a program that daxemu cannot reach: static, setuid, another architecture.
        """
        import subprocess

        return subprocess.run(args, **_prepare(self.engine.environ(), args, kwargs))

    def popen(self, args: Arguments, **kwargs: Any) -> subprocess.Popen[Any]:
        """``subprocess.Popen`` with the same arguments; the program sees every device of the engine.

        Raises PermissionError for a program that daxemu cannot reach: static, setuid, another architecture.
        """
        import subprocess

        return subprocess.Popen(args, **_prepare(self.engine.environ(), args, kwargs))
