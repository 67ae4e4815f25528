"""A program that sees emulated devices, and to whoever started it looks as if it ran alone."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

from daxemu._core import die_with_parent
from daxemu.engine import Engine
from daxemu.launch.elf import ProgramNotFoundError, ProgramRefusedError
from daxemu.launch.start import program_environment

__all__ = ["environment", "run_inside", "run_with"]

# What a shell, env and timeout answer for a command that could not be run.
_REFUSED = 126
_NOT_FOUND = 127

_NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE}
_NOT_FORWARDED |= {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS, signal.SIGPIPE, signal.SIGWINCH}
_SI_KERNEL = 0x80


def run_with(
    make_engine: Callable[[], Engine],
    cmd: Sequence[str],
    env: Mapping[str, str],
    *,
    kmsg: bool = False,
    ended: Callable[[int], None] | None = None,
) -> NoReturn:
    """Run a program with the devices of an engine that lives as long; end as the program did.

    With ``kmsg`` the engine's log goes to stderr. ``ended`` is called with the exit status, that of
    a signal being less than 0, while the devices are still there.
    """
    forwarded = set(signal.valid_signals()) - _NOT_FORWARDED
    original = signal.pthread_sigmask(signal.SIG_BLOCK, forwarded | {signal.SIGCHLD})
    with ExitStack() as after, make_engine() as engine:
        if kmsg:
            after.callback(_print_log(engine).join, timeout=1)  # whoever reads stderr may have stopped
        try:
            pid = _start(engine, cmd, env, original)
        except (ProgramNotFoundError, ProgramRefusedError) as error:
            _refuse(error)
        gc.freeze()  # what the start has made stays until the end, which need not look for garbage in it either
        gc.enable()
        status = _accompany(pid, forwarded)
        if ended is not None:
            ended(os.waitstatus_to_exitcode(status))
    _end_alike(status)


def _print_log(engine: Engine) -> threading.Thread:
    """Print the log as it comes, in a thread of its own: nobody has to wait for whoever reads it."""

    def print_all() -> None:
        with suppress(OSError):
            for record in engine.kmsg.follow():
                print(record, file=sys.stderr, flush=True)

    thread = threading.Thread(target=print_all, name="daxemu-kmsg", daemon=True)
    thread.start()
    return thread


def run_inside(session: Mapping[str, str], cmd: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become a program that sees the devices of a running session, told of by these variables."""
    try:
        complete = program_environment(session, cmd[0], env)
        _take_defaults()
        try:
            os.execvpe(cmd[0], [*cmd], complete)
        except OSError as error:
            raise ProgramRefusedError(f"{cmd[0]}: {error.strerror}") from error
    except (ProgramNotFoundError, ProgramRefusedError) as error:
        _refuse(error)


def _refuse(error: ProgramNotFoundError | ProgramRefusedError) -> NoReturn:
    print(f"daxemu: {error}", file=sys.stderr)
    sys.exit(_NOT_FOUND if isinstance(error, ProgramNotFoundError) else _REFUSED)


def environment() -> dict[str, str]:
    """Return ours as it was given: in the C locale the interpreter sets LC_CTYPE for itself (PEP 538)."""
    environment = dict(os.environ)
    environment.pop("LC_CTYPE", None)
    for variable in Path("/proc/self/environ").read_bytes().split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == b"LC_CTYPE":
            environment["LC_CTYPE"] = os.fsdecode(value)
    return environment


def _start(engine: Engine, cmd: Sequence[str], env: Mapping[str, str], mask: set[signal.Signals | int]) -> int:
    """Start it as ``engine.popen`` would: importing subprocess takes longer than all of this."""
    complete = program_environment(engine.environ(), cmd[0], env)
    failure, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            _take_defaults()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execvpe(cmd[0], [*cmd], complete)
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(_REFUSED)
    os.close(report)
    with open(failure, "rb") as answer:  # noqa: PTH123
        number = answer.read()
    if number:
        os.waitpid(pid, 0)
        raise ProgramRefusedError(f"{cmd[0]}: {os.strerror(int(number))}")
    return pid


def _take_defaults() -> None:
    """What this interpreter ignores, a program does not."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


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


def _end_alike(status: int) -> NoReturn:
    """End as the program did: with its exit status, or by its signal (without a second core file)."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    sys.exit(os.waitstatus_to_exitcode(status))
