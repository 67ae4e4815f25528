"""What trees are made of: files, links, and directories of attributes that are all of one object."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from daxemu.errors import KernelError

if TYPE_CHECKING:
    from daxemu.kernel.region import DaxRegion
    from daxemu.sysfs.attributes import Attribute

__all__ = ["Directories", "Directory", "Entry", "File", "Link", "Store", "Tree", "files_in", "links_to"]


class File(NamedTuple):
    """A regular file: permission bits and text."""

    mode: int
    text: str


class Link(NamedTuple):
    """A symbolic link."""

    target: str


Entry = File | Link
Tree = dict[str, Entry]
Store = Callable[[str], None]
Subject = TypeVar("Subject")


class Directory(NamedTuple, Generic[Subject]):
    """A directory of attributes, all of one object."""

    path: str
    attributes: Sequence[Attribute[Subject]]
    subject: Subject
    region: DaxRegion | None = None

    def present(self) -> Iterable[tuple[Attribute[Subject], int]]:
        """The attributes that are there, and their modes."""
        for attribute in self.attributes:
            if attribute.present and not attribute.present(self.subject):
                continue
            mode = attribute.mode_on(self.region) if self.region else attribute.mode
            if mode is not None:
                yield attribute, mode

    def files(self) -> Tree:
        """The attribute files."""
        return {f"{self.path}/{attribute.name}": self._file(attribute, mode) for attribute, mode in self.present()}

    def _file(self, attribute: Attribute[Subject], mode: int) -> File:
        """One of them. What cannot be read now is a file that nobody may open."""
        text = attribute.show(self.subject) if attribute.show else ""
        return File(mode, text) if text is not None else File(0, "")

    def store(self, name: str) -> Store:
        """What to call with the text written to one of them. EACCES: it cannot be written."""
        for attribute, mode in self.present():
            if attribute.name == name and attribute.store and mode & 0o222:
                return partial(attribute.store, self.subject)
        raise KernelError(errno.EACCES, f"{name} cannot be written")


Directories = Iterable[Directory[Any]]


def files_in(directories: Directories) -> Tree:
    """All attribute files of these directories."""
    tree: Tree = {}
    for directory in directories:
        tree |= directory.files()
    return tree


def links_to(links: Mapping[str, str]) -> Tree:
    """Relative links, given as where they are and where they lead."""
    return {at: Link(posixpath.relpath(f"/{to}", posixpath.dirname(f"/{at}"))) for at, to in links.items()}
