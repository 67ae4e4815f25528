"""Writes the projected tree to the session's directory and keeps it so."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from daxemu.session.directory import remove_tree
from daxemu.sysfs.directory import Entry, File, Link, Tree

__all__ = ["Projection"]


class Projection:
    """The tree on disk. Each subject (bus, region, device) owns a part of it, updated as a whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._parts: dict[str, Tree] = {}
        self._owners: Counter[str] = Counter()  # how many subjects have a path
        self._alike: dict[File, Path] = {}  # a file of each mode and text, to make more of by linking
        self._examples: dict[Path, File] = {}  # the same by its path

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

    def _write(self, path: str, entry: Entry, *, new: bool) -> None:
        target = self.root / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            return
        try:
            self._put(target, entry, new=new)
        except FileNotFoundError:  # most files are not the first of their directory
            target.parent.mkdir(parents=True, exist_ok=True)
            self._put(target, entry, new=new)

    def _put(self, target: Path, entry: Entry, *, new: bool) -> None:
        if isinstance(entry, Link):
            if not new:
                target.unlink(missing_ok=True)
            target.symlink_to(entry.target)
        elif target.parent.name == "dev":  # a node is told from others by its inode
            self._write_file(target, entry, new=new)
        elif not (new and self._link_alike(target, entry)):
            self._write_file(target, entry, new=new)
            self._forget_example(target)
            if entry in self._alike:
                self._forget_example(self._alike[entry])
            self._alike[entry], self._examples[target] = target, entry

    def _link_alike(self, target: Path, entry: File) -> bool:
        """Make a file by linking one of the same mode and text, which is a quarter of the work."""
        if entry not in self._alike:
            return False
        try:
            os.link(self._alike[entry], target)
        except FileNotFoundError:
            if self._alike[entry].exists():
                raise
            return False
        except OSError:  # it has enough links, or the file system has none
            return False
        return True

    def _forget_example(self, target: Path) -> None:
        entry = self._examples.pop(target, None)
        if entry is not None:
            del self._alike[entry]

    def _write_file(self, target: Path, entry: File, *, new: bool) -> None:
        """A file that readers know is replaced, so that none ever sees half of it, nor do those linked to it."""
        path = target if new else self.root / ".new"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, entry.text.encode())
            os.fchmod(fd, entry.mode)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(fd)
        if path is not target:
            path.replace(target)

    def _remove(self, path: str) -> None:
        target = self.root / path
        if path.endswith("/"):
            remove_tree(target)
        else:
            self._forget_example(target)
            target.unlink(missing_ok=True)
        for parent in target.parents:
            inside = parent.relative_to(self.root).as_posix()
            if inside in (".", "dev", "sys") or self._owners[f"{inside}/"]:
                break
            try:
                parent.rmdir()
            except OSError:
                break
