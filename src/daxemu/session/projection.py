"""Writes the projected tree to the session's directory and keeps it so.

Paths are texts here: a session begins with hundreds of files, and as Path objects would take twice as long.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from posixpath import dirname

from daxemu.session.directory import remove_tree
from daxemu.sysfs.directory import Entry, File, Link, Tree

__all__ = ["Projection"]


class Projection:
    """The tree on disk. Each subject (bus, region, device) owns a part of it, updated as a whole."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._parts: dict[str, Tree] = {}
        self._owners: Counter[str] = Counter()  # how many subjects have a path
        self._alike: dict[File, str] = {}  # a file of each mode and text, to make more of by linking
        self._examples: dict[str, File] = {}  # the same by its path

    def update(self, parts: Mapping[str, Tree]) -> None:
        """Make the parts of these subjects be so, all of them or none; only what differs is written.

        An empty tree takes a subject away, with the directories that held nothing else.
        """
        with ExitStack() as undo:
            for subject, tree in parts.items():
                self._update_part(subject, tree, undo)
            undo.pop_all()

    def _update_part(self, subject: str, tree: Tree, undo: ExitStack) -> None:
        old = self._parts.get(subject, {})
        undo.callback(self._own, subject, old)
        gone = [path for path in old if path not in tree]
        new = {path for path in tree if path not in old and not self._owners[path]}
        self._own(subject, tree)
        for path in gone:
            if not self._owners[path]:
                undo.callback(self._write, path, old[path], new=True)
                self._remove(path)
        for path, entry in tree.items():
            if path in new:
                undo.callback(self._remove, path)
                self._write(path, entry, new=True)
            elif path in old and old[path] != entry:
                undo.callback(self._write, path, old[path], new=False)
                self._write(path, entry, new=False)

    def _own(self, subject: str, tree: Tree) -> None:
        """Several subjects may own a path: a module's files belong to every region that needs it."""
        self._owners.subtract(self._parts.pop(subject, {}).keys())
        if tree:
            self._parts[subject] = tree
            self._owners.update(tree.keys())

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _write(self, path: str, entry: Entry, *, new: bool) -> None:
        if path.endswith("/"):
            os.makedirs(self._at(path), exist_ok=True)
            return
        try:
            self._put(path, entry, new=new)
        except FileNotFoundError:  # most files are not the first of their directory
            os.makedirs(self._at(dirname(path)), exist_ok=True)
            self._put(path, entry, new=new)

    def _put(self, path: str, entry: Entry, *, new: bool) -> None:
        if isinstance(entry, Link):
            if not new:
                self._unlink(path)
            os.symlink(entry.target, self._at(path))
        elif path.startswith("dev/"):  # a node is told from others by its inode
            self._write_file(path, entry, new=new)
        elif not (new and self._link_alike(path, entry)):
            self._write_file(path, entry, new=new)
            self._forget_example(path)
            if entry in self._alike:
                self._forget_example(self._alike[entry])
            self._alike[entry], self._examples[path] = path, entry

    def _link_alike(self, path: str, entry: File) -> bool:
        """Make a file by linking one of the same mode and text, which is a quarter of the work."""
        if entry not in self._alike:
            return False
        example = self._at(self._alike[entry])
        try:
            os.link(example, self._at(path))
        except FileNotFoundError:
            if os.path.exists(example):
                raise
            return False
        except OSError:  # it has enough links, or the file system has none
            return False
        return True

    def _forget_example(self, path: str) -> None:
        entry = self._examples.pop(path, None)
        if entry is not None:
            del self._alike[entry]

    def _write_file(self, path: str, entry: File, *, new: bool) -> None:
        """A file that readers know is replaced, so that none ever sees half of it, nor do those linked to it."""
        target = self._at(path if new else ".new")
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, entry.text.encode())
            os.fchmod(fd, entry.mode)
        except BaseException:
            os.unlink(target)
            raise
        finally:
            os.close(fd)
        if not new:
            os.replace(target, self._at(path))

    def _unlink(self, path: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._at(path))

    def _remove(self, path: str) -> None:
        if path.endswith("/"):
            remove_tree(self._at(path))
        else:
            self._forget_example(path)
            self._unlink(path)
        parent = dirname(path.rstrip("/"))
        while parent not in ("", "dev", "sys") and not self._owners[f"{parent}/"]:
            try:
                os.rmdir(self._at(parent))
            except OSError:
                break
            parent = dirname(parent)
