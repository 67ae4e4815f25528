"""Copying where there is neither read(2) nor write(2)."""

from __future__ import annotations

import mmap
import os
import stat

__all__ = ["copy_mapped"]

_STEP = 64 << 20
_ALIGN = 1 << 30  # whatever the device's alignment is


def _map(fd: int, at: int, length: int) -> tuple[mmap.mmap, int]:
    """Map bytes; a device maps whole units of its alignment only. The mapping, and where in it they begin."""
    unit = _ALIGN if stat.S_ISCHR(os.fstat(fd).st_mode) else mmap.PAGESIZE
    begin = at // unit * unit
    end = -(-(at + length) // unit) * unit
    return mmap.mmap(fd, end - begin, offset=begin), at - begin


def copy_mapped(source: int, source_at: int, target: int, target_at: int, length: int) -> None:
    """Copy ``length`` bytes from one file or device to another."""
    for done in range(0, length, _STEP):
        step = min(_STEP, length - done)
        (reading, begin), (writing, at) = _map(source, source_at + done, step), _map(target, target_at + done, step)
        with reading, writing:
            writing[at : at + step] = reading[begin : begin + step]
