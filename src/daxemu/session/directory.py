"""Sessions on disk: a private directory each, and the sweeping of those whose owner is gone."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from daxemu.errors import UsageError

__all__ = ["SessionDirectory", "check_name", "remove_tree", "session_directories", "sessions_root", "sweep"]

# A unix socket's path has 108 bytes; "/sock" and the session's own name must fit behind the root.
_LONGEST_ROOT = 80
_LONGEST_NAME = 20


def _candidates() -> list[Path]:
    """Where sessions may be, best first: in $DAXEMU_SESSIONS_DIR alone, if that is set."""
    chosen = Path(os.environ.get("DAXEMU_SESSIONS_DIR", "."))
    if chosen.is_absolute():
        return [chosen / f"daxemu-{os.getuid()}"]
    chosen = Path(os.environ.get("TMPDIR", "."))
    found = [Path("/dev/shm"), *([chosen] if chosen.is_absolute() else []), Path("/tmp")]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "."))
    if runtime.is_absolute() and runtime.is_dir() and runtime.stat().st_uid in (0, os.getuid()):
        found.insert(0, runtime)
    return [path / f"daxemu-{os.getuid()}" for path in dict.fromkeys(found)]


def sessions_root() -> Path:
    """Return the directory of this user's new sessions: in $XDG_RUNTIME_DIR, /dev/shm or the temporary directory."""
    candidates = _candidates()
    for path in candidates:
        # The loader separates names in LD_PRELOAD by blanks and colons.
        if len(str(path)) <= _LONGEST_ROOT and not set(" :\t\n") & set(str(path)) and _has_room(path.parent):
            return path
    places = ", ".join(str(path.parent) for path in candidates)
    raise UsageError(f"no writable directory with room for sessions among {places}; set XDG_RUNTIME_DIR")


def check_name(name: str) -> str:
    """Return the name of a session. Raises UsageError for one that could not be a directory's in every place."""
    plain = "".join(letter for letter in name if letter not in "_-.")
    if not 0 < len(name) <= _LONGEST_NAME or name[0] in "-." or not f"{plain}x".isalnum() or not name.isascii():
        raise UsageError(
            f"session name {name!r}: give 1 to {_LONGEST_NAME} letters, digits, '_', '-' or '.', "
            "the first neither '-' nor '.'"
        )
    return name


def session_directories() -> list[Path]:
    """Return the directories of all sessions of this user, wherever they were made, also half-made ones."""
    found: list[Path] = []
    for root in _candidates():
        if _is_private(root):
            found += sorted(path for path in root.iterdir() if _is_private(path))
    return found


def _has_room(directory: Path) -> bool:
    """May files be made there, and is there room for some thousands? /dev/shm is small in a container."""
    if not os.access(directory, os.W_OK | os.X_OK):
        return False
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize >= 32 << 20


def _is_private(path: Path) -> bool:
    """Is it a directory, itself and not by a link, that is this user's alone? Nothing else is looked into."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _make_root(root: Path) -> None:
    with suppress(FileExistsError):
        root.mkdir(mode=0o700)
        root.chmod(0o700)  # whatever the umask
    if root.exists() and not _is_private(root):
        raise UsageError(f"{root} is not a private directory of this user; remove it or set XDG_RUNTIME_DIR")


def _make_directory(root: Path, name: str | None) -> Path:
    """Make a session's directory, under a name that nobody has. UsageError: the name that was asked for is taken."""
    if name is None:
        path = root / os.urandom(4).hex()
        path.mkdir(mode=0o700)
        return path
    path = root / check_name(name)
    if any(taken.name == name for taken in session_directories()):
        raise UsageError(f"a session {name!r} is running; end it, or give this one another name")
    try:
        path.mkdir(mode=0o700)
    except FileExistsError as error:  # another engine was faster, or it is no session's
        raise UsageError(f"{path} exists; give the session another name, or remove it") from error
    path.chmod(0o700)  # whatever the umask
    return path


class SessionDirectory:
    """One session's directory, held by a lock that dies with this process.

    Its name is the session's: ``name``, or one that nobody has. UsageError: it is taken, or cannot be one.
    """

    _held: ClassVar[set[Path]] = set()  # a lock is the process's: it cannot test its own

    def __init__(self, name: str | None = None) -> None:
        root = sessions_root()
        for attempt in range(100):
            try:
                _make_root(root)
                self.path = _make_directory(root, name)
                break
            except (FileNotFoundError, FileExistsError):  # another session's end removed the root, or has this name
                if attempt == 99:
                    raise
        self._held.add(self.path)
        # It gets its name when it is locked: an unlocked one means that the owner is gone.
        unnamed = self.path / "lock.new"
        self._lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(self.path / "lock")
        for name in ("dev", "sys"):
            (self.path / name).mkdir()

    def remove(self) -> None:
        """Take the directory away with all that is in it, and the root if it was the last."""
        remove_tree(self.path)
        os.close(self._lock)
        self._held.discard(self.path)
        _remove_if_empty(self.path.parent)

    @classmethod
    def is_orphan(cls, path: Path) -> bool:
        """Is the owner of this session gone?"""
        if path in cls._held:
            return False
        try:
            fd = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return _older_than_a_minute(path)  # being made, or its owner died making it
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True


def _older_than_a_minute(path: Path) -> bool:
    import tempfile

    with tempfile.TemporaryFile(dir=path.parent) as now:
        return os.fstat(now.fileno()).st_mtime - path.lstat().st_mtime > 60


def remove_tree(path: Path | str) -> None:
    """Remove a directory with all that is in it, as far as that is possible.

    shutil has the same, and takes longer to be imported than a session to be removed.
    """
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                with suppress(OSError):
                    os.unlink(entry)  # noqa: PTH108
    _remove_if_empty(path)


def _remove_if_empty(path: Path | str) -> None:
    try:
        os.rmdir(path)  # noqa: PTH106
    except OSError:
        return


def sweep() -> list[Path]:
    """Remove the sessions whose owners are gone; return their directories."""
    swept = []
    for path in session_directories():
        with suppress(OSError):  # its owner is just removing it
            if SessionDirectory.is_orphan(path):
                remove_tree(path)
                swept.append(path)
    for root in _candidates():
        if _is_private(root):
            _remove_if_empty(root)
    return swept
