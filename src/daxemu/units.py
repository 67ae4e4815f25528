"""Sizes as people write them."""

from __future__ import annotations

import re

from daxemu.errors import UsageError

__all__ = ["format_size", "parse_size"]

_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = r"(0[xX][0-9a-fA-F]+|[0-9]+)\s*([KMGTPkmgtp]?)(?:i?[Bb])?"


def parse_size(text: int | str) -> int:
    """Return a number of bytes from ``64M``, ``2GiB``, ``0x200000`` or an int.

    Suffixes are powers of 1024, as in ndctl and fio. Raises UsageError on anything else.
    """
    if isinstance(text, bool) or not isinstance(text, (int, str)):
        raise UsageError(f"size {text!r}: give bytes as an int, or a text such as '64M'")
    if isinstance(text, int):
        size = text
    else:
        match = re.fullmatch(_SIZE, text.strip())
        if match is None:
            raise UsageError(f"size {text!r} is not a number with K, M, G, T or P; write for example '64M'")
        size = int(match[1], 0 if match[1][:2].lower() == "0x" else 10) * _FACTORS[match[2].upper()]
    if size < 0:
        raise UsageError(f"size {text!r} is negative")
    return size


def format_size(size: int) -> str:
    """Return the shortest exact text that parse_size reads back: ``64M``, ``2G``, ``4097``."""
    for suffix in ("P", "T", "G", "M", "K"):
        if size and size % _FACTORS[suffix] == 0:
            return f"{size // _FACTORS[suffix]}{suffix}"
    return str(size)
