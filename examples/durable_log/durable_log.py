"""A log on persistent memory whose records outlive a power failure, and one that only seems to.

A record is its length, the CRC-32 of its body, and the body. ``append`` returns when the record is safe.
"""

import struct
import zlib

_HEADER = struct.Struct("<II")
_LINE = 64


class DurableLog:
    """A log in ``memory``, a mapped device. Each record begins a cache line of its own."""

    def __init__(self, memory):
        self._memory = memory
        self._end = 0
        self.records = []
        while (body := self._body_at(self._end)) is not None:
            self.records.append(body)
            self._end += self._size(body)

    @staticmethod
    def _size(body):
        return -(-(_HEADER.size + len(body)) // _LINE) * _LINE

    def _body_at(self, at):
        length, checksum = _HEADER.unpack(self._memory[at : at + _HEADER.size])
        body = bytes(self._memory[at + _HEADER.size : at + _HEADER.size + length])
        return body if length and zlib.crc32(body) == checksum else None

    def append(self, body):
        """Write a record and wait until it is safe."""
        self._write(body)
        self._memory.persist(self._end, self._size(body))
        self._end += self._size(body)
        self.records.append(body)

    def _write(self, body):
        record = _HEADER.pack(len(body), zlib.crc32(body)) + body
        self._memory[self._end : self._end + len(record)] = record


class HastyLog(DurableLog):
    """Wrong: a record that is longer than a line is not all flushed."""

    def append(self, body):
        """Write a record and wait until its first line is safe."""
        self._write(body)
        self._memory.persist(self._end, _HEADER.size)
        self._end += self._size(body)
        self.records.append(body)
