"""An append-only log on persistent memory, and one that loses what it said was safe.

A record is its length, the CRC-32 of its body, and the body; it begins a cache line. Opening a log reads from the
start until something is no record: the end, or one that was being written when the power failed.
"""

import struct
import zlib

_HEADER = struct.Struct("<II")
_LINE = 64


class LogFullError(Exception):
    """The record does not fit behind the last one."""


class AppendLog:
    """A log in ``memory``, a mapped device."""

    def __init__(self, memory):
        self._memory = memory
        self._end = 0
        self.records = []
        while (body := self._body_at(self._end)) is not None:
            self._add(body)

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

    def _add(self, body):
        self.records.append(body)
        self._end += -(-(_HEADER.size + len(body)) // _LINE) * _LINE

    def append(self, body):
        """Write a record. It is safe when this returns."""
        record = _HEADER.pack(len(body), zlib.crc32(body)) + body
        if not body or self._end + len(record) > len(self._memory):
            raise LogFullError(f"{len(body)} bytes")
        self._memory[self._end : self._end + len(record)] = record
        self._make_durable(self._end, len(record))
        self._add(body)

    def _make_durable(self, at, length):
        self._memory.persist(at, length)


class HastyLog(AppendLog):
    """Wrong: of a record that is longer than a cache line not all is flushed."""

    def _make_durable(self, at, length):
        self._memory.persist(at, _HEADER.size)
