"""What tells whether a program could recover from a state: a Python callable, or a command."""

from __future__ import annotations

import inspect
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daxemu._core import copy_changes
from daxemu.engine import Engine
from daxemu.errors import DaxemuError, UsageError
from daxemu.launch.start import check_reachable, program_environment
from daxemu.pmem.reaper import Reaper

if TYPE_CHECKING:
    from daxemu.pmem.reader import Recording
    from daxemu.pmem.states import CrashImage

__all__ = [
    "Check",
    "CheckFailedError",
    "CommandCheck",
    "answer_of",
    "is_told_markers",
    "reason_of",
    "refuse_check",
    "show_check",
]

Check = Callable[..., Any] | Sequence[str | os.PathLike[str]]

IMAGE = "{image}"
_LAST_MARKERS = 16  # an environment has bounds
_OUTPUT_SHOWN = 2000


class CheckFailedError(DaxemuError):
    """A command found that a state is wrong."""


def is_told_markers(check: Check) -> bool:
    """Does it get to know the markers? Commands do by their environment, callables by a second parameter."""
    if not callable(check):
        return True
    try:
        parameters = inspect.signature(check).parameters.values()
    except ValueError:  # of some built-in callables nothing is known
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len([p for p in parameters if p.kind in positional and p.default is p.empty]) > 1


def show_check(check: Check) -> str:
    """How a report names it."""
    if callable(check):
        return getattr(check, "__qualname__", repr(check))
    return shlex.join([os.fspath(part) for part in check]).replace(f"'{IMAGE}'", IMAGE)


def refuse_check(check: Check) -> None:
    """Raise UsageError, or what ``device.run`` raises, for a check that cannot run at all."""
    if callable(check):
        _refuse_callable(check)
        return
    if isinstance(check, (str, bytes)) or not check:
        raise UsageError(f"check {check!r}: give a callable, or a command as a list: ['check', '{IMAGE}']")
    name = os.fspath(check[0])
    if not any(IMAGE in os.fspath(part) for part in check):
        check_reachable(name, os.environ)
    elif shutil.which(name) is None:
        raise UsageError(f"check {name!r}: there is no such program; give its path, or one that is in PATH")


def _refuse_callable(check: Callable[..., Any]) -> None:
    """What cannot be called as a check is would seem to fail on every state."""
    try:
        signature = inspect.signature(check)
    except ValueError:
        return
    try:
        signature.bind(*("image", "markers") if is_told_markers(check) else ("image",))
    except TypeError:
        raise UsageError(
            f"check {show_check(check)}{signature}: it is called with the bytes of the device, and the markers if it "
            "has two parameters; give it one or two"
        ) from None


def answer_of(check: Callable[..., object], *arguments: object) -> object:
    """What a callable says; one that ends by ``sys.exit`` is judged by its status, as a program is."""
    try:
        return check(*arguments)
    except SystemExit as end:
        if end.code:
            raise
        return True


def reason_of(error: BaseException | None) -> str:
    """One line that tells why a check failed; None is the answer False."""
    if error is None:
        return "the check answered False"
    if isinstance(error, CheckFailedError):
        return str(error)
    text = (str(error).splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    if not text and frames:
        text = frames[-1].line or ""
    return f"{type(error).__name__}: {text}{where}"


class CommandCheck:
    """A command that is run on states. A context manager.

    ``{image}`` in it stands for a file that holds the state. Without it the command sees an emulated
    ``/dev/dax0.0`` that does. Either is its own: what it writes there is gone with the next state.
    It learns the crash point from DAXEMU_CRASH_POINT, the last markers, one a line, from
    DAXEMU_CRASH_MARKERS. Another exit status than 0, a signal, or no end in time is a failure.
    What it has started ends with it, unless that is in a session of its own.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        recording: Recording,
        image: CrashImage,
        timeout: float,
        scratch: str | None = None,
    ) -> None:
        self._recording, self._image, self._timeout = recording, image, timeout
        self._shown = command
        self._command = [os.fspath(part) for part in command]
        self.broken: UsageError | None = None
        self._environment = dict(os.environ)
        with ExitStack() as undo:
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
            undo.callback(os.close, self._stop)
            self._output = undo.enter_context(tempfile.TemporaryFile())
            if any(IMAGE in part for part in self._command):
                directory = undo.enter_context(tempfile.TemporaryDirectory(prefix="daxemu-crash-", dir=scratch))
                path = os.path.join(directory, "image")  # noqa: PTH118 # a part of a command is a str
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                undo.callback(os.close, self._fd)
                os.truncate(self._fd, recording.size)
                self._command = [part.replace(IMAGE, path) for part in self._command]
                reaper = undo.enter_context(Reaper(directory))
            else:
                engine = undo.enter_context(Engine())
                region = engine.add_region(recording.size, align=recording.align, persistence=recording.domain)
                self._fd = region.devices[0]._backing.fd
                self._environment = program_environment(engine.environ(), self._command[0], self._environment)
                reaper = undo.enter_context(Reaper())
            self._environment |= reaper.environment
            self._close = undo.pop_all()

    def close(self) -> None:
        """Remove the file, or the machine."""
        self._close.close()

    def stop(self) -> None:
        """Have it end with a KeyboardInterrupt, in whatever thread it runs, and from here on whenever it is called."""
        os.eventfd_write(self._stop, 1)

    def __call__(self) -> None:
        """Run it on the state that the image shows.

        CheckFailedError: it is wrong. KeyboardInterrupt: it was stopped, or could not be run, as ``broken`` then says.
        """
        try:
            self._try()
        except OSError as error:
            why = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            self.broken = UsageError(f"check {show_check(self._shown)} could not be run: {why}")
            raise KeyboardInterrupt from error

    def _try(self) -> None:
        point = self._image.point
        copy_changes(self._image.fd, self._fd, self._recording.size)
        self._environment["DAXEMU_CRASH_POINT"] = str(point)
        self._environment["DAXEMU_CRASH_MARKERS"] = "\n".join(self._recording.last_markers(point, _LAST_MARKERS))
        self._output.seek(0)
        self._output.truncate()
        status = self._run()
        if status == 0:
            return
        if status is None:
            raise CheckFailedError(f"it did not end within {self._timeout:g} seconds{self._said()}")
        if status < 0:
            raise CheckFailedError(f"killed by {signal.Signals(-status).name}{self._said()}")
        raise CheckFailedError(f"exit status {status}{self._said()}")

    def _run(self) -> int | None:
        """The exit status, negative for a signal, None for no end in time."""
        process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            pidfd = os.pidfd_open(process.pid)
            try:
                end = select.poll()
                end.register(pidfd, select.POLLIN)
                end.register(self._stop, select.POLLIN)
                ready = dict(end.poll(self._timeout * 1000))
            finally:
                os.close(pidfd)
            if self._stop in ready:
                raise KeyboardInterrupt
        finally:
            with suppress(PermissionError):  # a setuid one
                os.killpg(process.pid, signal.SIGKILL)  # it is not waited for yet, so no other group has this number
            status = process.wait()
        return status if ready else None

    def _said(self) -> str:
        """The last line of its output, that a reason may end with."""
        length = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, length - _OUTPUT_SHOWN))
        lines = self._output.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1]}" if said else ""
