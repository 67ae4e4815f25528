"""An append-only log on a dax device: ``append_log.py DEVICE [TEXT…]`` appends, then prints all records.

A record is its length, the CRC-32 of its body, and the body. Opening a log reads from the start
until something is no record: the end, or one that was being written when the power failed.
There is no flush call: device-DAX has no msync. On hardware whose caches are lost with the power,
follow each store by a cache line flush, as libpmem does.
"""

import mmap
import os
import struct
import sys
import zlib
from pathlib import Path

_HEADER = struct.Struct("<II")
_ALIGN = 8


class LogFullError(Exception):
    """The record does not fit behind the last one."""


class AppendLog:
    """A log in ``memory``: anything whose slices are read and written as bytes."""

    def __init__(self, memory):
        self._memory = memory
        self._end = 0
        self.records = []
        while (body := self._body_at(self._end)) is not None:
            self.records.append(body)
            self._end = self._after(self._end, body)

    @staticmethod
    def _after(at, body):
        return (at + _HEADER.size + len(body) + _ALIGN - 1) // _ALIGN * _ALIGN

    def _body_at(self, at):
        """Return the record there, None if there is none."""
        body_at = at + _HEADER.size
        if body_at > len(self._memory):
            return None
        length, checksum = _HEADER.unpack(self._memory[at:body_at])
        if length == 0 or body_at + length > len(self._memory):
            return None
        body = bytes(self._memory[body_at : body_at + length])
        return body if zlib.crc32(body) == checksum else None

    def append(self, body):
        """Write a record: first the body, and only then the header that makes it one."""
        body_at = self._end + _HEADER.size
        if not body or body_at + len(body) > len(self._memory):
            raise LogFullError(f"{len(body)} bytes")
        self._memory[body_at : body_at + len(body)] = body
        self._memory[self._end : body_at] = _HEADER.pack(len(body), zlib.crc32(body))
        self._end = self._after(self._end, body)
        self.records.append(body)


def main(path, *texts):
    """Map the whole device, whose size sysfs knows; to fstat it is a character device of size 0."""
    fd = os.open(path, os.O_RDWR)
    device = os.fstat(fd).st_rdev
    size = Path(f"/sys/dev/char/{os.major(device)}:{os.minor(device)}/size").read_text()
    log = AppendLog(mmap.mmap(fd, int(size)))
    for text in texts:
        log.append(text.encode())
    print(*(record.decode() for record in log.records), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
