"""Writes the projected tree to the session's directory and keeps it so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from daxemu.sysfs.tree import Entry, File, Link, Tree

__all__ = ["Projection"]


class Projection:
    """The tree on disk. Each subject (bus, region, device) owns a part of it, updated as a whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._parts: dict[str, Tree] = {}

    def update(self, subject: str, tree: Tree) -> None:
        """Make a subject's part of the tree be this one; only what differs is written."""
        old = self._parts.get(subject, {})
        for path in old.keys() - tree.keys():
            self._remove(path)
        for path, entry in tree.items():
            if old.get(path) != entry:
                self._write(path, entry, new=path not in old)
        self._parts[subject] = tree

    def remove(self, subject: str) -> None:
        """Take a subject's part away, with the directories that held nothing else."""
        for path in self._parts.pop(subject, {}):
            if not any(path in tree for tree in self._parts.values()):
                self._remove(path)

    def _write(self, path: str, entry: Entry, *, new: bool) -> None:
        target = self.root / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, Link):
            target.unlink(missing_ok=True)
            target.symlink_to(entry.target)
        else:
            self._write_file(target, entry, new=new)

    def _write_file(self, target: Path, entry: File, *, new: bool) -> None:
        """A file that readers know is replaced, so that none ever sees half of it."""
        path = target if new else self.root / ".new"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, entry.text.encode())
            os.fchmod(fd, entry.mode)
        finally:
            os.close(fd)
        if path is not target:
            path.replace(target)

    def _remove(self, path: str) -> None:
        target = self.root / path
        if path.endswith("/"):
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
        kept = {self.root / path for tree in self._parts.values() for path in tree if path.endswith("/")}
        for parent in target.parents:
            if parent in (self.root, self.root / "dev", self.root / "sys") or parent in kept:
                break
            try:
                parent.rmdir()
            except OSError:
                break
