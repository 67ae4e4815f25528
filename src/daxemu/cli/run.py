"""daxemu run: a program that sees emulated devices, and to whoever started it looks as if it ran alone."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import click

from daxemu._core import die_with_parent
from daxemu.engine import Engine
from daxemu.errors import DaxemuError
from daxemu.launch.elf import ProgramNotFoundError, ProgramRefusedError
from daxemu.spec import RegionSpec

__all__ = ["command"]

# What a shell, env and timeout answer for a command that could not be run.
_REFUSED = 126
_NOT_FOUND = 127

_NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE}
_NOT_FORWARDED |= {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS, signal.SIGPIPE, signal.SIGWINCH}
_SI_KERNEL = 0x80


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="KEY=VALUE,…",
    help="A region with one device over all of it. Keys: size (64M), align (2M; 4K, 1G), provider (pmem; hmem), "
    "backend (tmpfs), start (physical address), driver (device_dax; kmem, none, auto). May be given several times.",
)
@click.option(
    "--kernel", default="6.12", show_default=True, metavar="VERSION", help="Kernel to behave as: 6.1 or 6.12."
)
@click.option(
    "--drivers", default="device_dax,kmem", show_default=True, metavar="NAMES", help="dax drivers that are loaded."
)
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def command(regions: tuple[str, ...], kernel: str, drivers: str, cmd: tuple[str, ...]) -> None:
    """Run CMD with emulated devices: /dev/dax0.0, or what --region asks for.

    Exit status, signals, terminal and files are CMD's own. 127: there is no CMD. 126: it cannot be
    started so that it sees the devices. 2: the devices cannot be made as asked.
    """
    forwarded = set(signal.valid_signals()) - _NOT_FORWARDED
    original = signal.pthread_sigmask(signal.SIG_BLOCK, forwarded | {signal.SIGCHLD})
    with Engine(kernel=kernel, drivers=drivers.split(",")) as engine:
        for spec in [RegionSpec.parse(text) for text in regions or ("",)]:
            spec.add_to(engine)
        try:
            engine.environ()
        except OSError as error:
            raise DaxemuError(f"no session can be made: {error}") from error
        try:
            pid = _start(engine, cmd, original)
        except (ProgramNotFoundError, ProgramRefusedError) as error:
            print(f"daxemu: {error}", file=sys.stderr)
            sys.exit(_NOT_FOUND if isinstance(error, ProgramNotFoundError) else _REFUSED)
        status = _accompany(pid, forwarded)
    _end_alike(status)


def _environment() -> dict[str, str]:
    """Return ours as it was given: in the C locale the interpreter sets LC_CTYPE for itself (PEP 538)."""
    environment = dict(os.environ)
    environment.pop("LC_CTYPE", None)
    for variable in Path("/proc/self/environ").read_bytes().split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == b"LC_CTYPE":
            environment["LC_CTYPE"] = os.fsdecode(value)
    return environment


def _start(engine: Engine, cmd: tuple[str, ...], mask: set[signal.Signals | int]) -> int:
    def in_child() -> None:
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        process = engine.popen(list(cmd), env=_environment(), close_fds=False, preexec_fn=in_child)
    except DaxemuError:
        raise
    except OSError as error:
        raise ProgramRefusedError(f"{cmd[0]}: {error.strerror}") from error
    process.returncode = 0  # _accompany waits for it
    return process.pid


def _accompany(pid: int, forwarded: set[signal.Signals]) -> int:
    """Pass signals on and stop when the program stops, until it ends; return its wait status.

    What the terminal sends it sends to the program as well, so that is not passed on. But when the
    terminal goes away, the kernel tells only the session's leader; that may be us.
    """
    hangup = {signal.SIGHUP, signal.SIGCONT} if os.getsid(0) == os.getpid() else set()
    while True:
        info = signal.sigwaitinfo(forwarded | {signal.SIGCHLD})
        if info.si_signo != signal.SIGCHLD:
            if info.si_code != _SI_KERNEL or info.si_signo in hangup:
                os.kill(pid, info.si_signo)
            continue
        ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if ended == pid and os.WIFSTOPPED(status):
            os.kill(os.getpid(), signal.SIGSTOP)
        elif ended == pid:
            return status


def _end_alike(status: int) -> None:
    """End as the program did: with its exit status, or by its signal (without a second core file)."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    sys.exit(os.waitstatus_to_exitcode(status))
