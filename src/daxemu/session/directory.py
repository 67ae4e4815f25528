"""Sessions on disk: a private directory each, and the sweeping of those whose owner is gone."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from daxemu.errors import UsageError

__all__ = ["SessionDirectory", "sessions_root", "sweep"]

# A unix socket's path has 108 bytes; "/sock" and the session's own name must fit behind the root.
_LONGEST_ROOT = 80


def sessions_root() -> Path:
    """Return the directory of this user's sessions: in $XDG_RUNTIME_DIR, /dev/shm or the temporary directory."""
    candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", tempfile.gettempdir(), "/tmp"]
    for candidate in candidates:
        path = Path(candidate) / f"daxemu-{os.getuid()}"
        if candidate and len(str(path)) <= _LONGEST_ROOT and _has_room(candidate):
            return path
    raise UsageError(f"no writable directory for sessions among {', '.join(filter(None, candidates))}; set TMPDIR")


def _has_room(directory: str) -> bool:
    """May files be made there, and is there room for some thousands? /dev/shm is small in a container."""
    if not os.access(directory, os.W_OK | os.X_OK):
        return False
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize >= 32 << 20


def _make_root(root: Path) -> None:
    with suppress(FileExistsError):
        root.mkdir(mode=0o700)
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UsageError(f"{root} is not a private directory of this user; remove it or set TMPDIR")


class SessionDirectory:
    """One session's directory, held by a lock that dies with this process."""

    _held: ClassVar[set[Path]] = set()  # a lock is the process's: it cannot test its own

    def __init__(self) -> None:
        root = sessions_root()
        for attempt in range(100):
            try:
                _make_root(root)
                self.path = Path(tempfile.mkdtemp(dir=root, prefix=""))
                break
            except FileNotFoundError:  # another session's end removed the root
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
        shutil.rmtree(self.path, ignore_errors=True)
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
    with tempfile.TemporaryFile(dir=path.parent) as now:
        return os.fstat(now.fileno()).st_mtime - path.lstat().st_mtime > 60


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return


def _orphans(root: Path) -> Iterator[Path]:
    try:
        entries = list(root.iterdir())
    except FileNotFoundError:
        return
    for path in entries:
        try:
            if path.is_dir() and SessionDirectory.is_orphan(path):
                yield path
        except OSError:  # its owner is just removing it
            continue


def sweep() -> list[Path]:
    """Remove the sessions whose owners are gone; return their directories."""
    root = sessions_root()
    swept = []
    for path in _orphans(root):
        shutil.rmtree(path, ignore_errors=True)
        swept.append(path)
    _remove_if_empty(root)
    return swept
