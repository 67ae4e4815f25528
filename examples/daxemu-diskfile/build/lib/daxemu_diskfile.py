"""A backing store on ordinary files of a disk: ``backend=diskfile:/some/directory``.

Devices may be larger than memory; the page cache keeps what is in use.
"""

import errno
import os
import tempfile

import daxemu
from daxemu.backing import BackingStore, Probe


class DiskFileStore(BackingStore):
    """Files without a name in a directory, so that nothing is ever left behind."""

    name = "diskfile"

    @classmethod
    def probe(cls, where=""):
        try:
            os.close(_make(where))
        except OSError as error:
            place = _directory(where)
            return Probe(False, f"no file can be made in {place}: {error.strerror}", "write backend=diskfile:DIRECTORY")
        return Probe(True)

    def create(self, label, size):
        fd = _make(self.where)
        try:
            self.resize(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def reserve(self, fd, size):
        space = os.fstatvfs(fd)
        if size - os.fstat(fd).st_blocks * 512 > space.f_bavail * space.f_frsize:
            raise OSError(errno.ENOSPC, f"{_directory(self.where)} has not so much space left; use another directory")
        super().reserve(fd, size)


def _directory(where):
    return where or tempfile.gettempdir()


def _make(where):
    return os.open(_directory(where), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


@daxemu.hookimpl
def daxemu_register_backends():
    return [DiskFileStore]
