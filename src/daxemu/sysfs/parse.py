"""How the kernel reads what is written to an attribute."""

from __future__ import annotations

import errno
import re

from daxemu.errors import KernelError

__all__ = ["device_name", "parse_bool", "parse_int", "parse_range", "parse_unsigned", "same_text"]

# Compiled when first used: a start of a program uses none of them.
_NUMBER = r"\+?(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))"
_HEX = r"\+?(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]+)"
_DEVICE_NAME = r"dax(0|-?[1-9][0-9]*)\.(0|-?[1-9][0-9]*)\n?"


def _invalid(text: str, what: str) -> KernelError:
    return KernelError(errno.EINVAL, f"{text!r} is not {what}")


def _in_range(value: int, text: str, low: int, high: int) -> int:
    if not low <= value <= high:
        raise KernelError(errno.ERANGE, f"{text!r} is out of range")
    return value


def _checked(text: str, end: int, value: int) -> int:
    """64 bits that end there. Too large comes before what follows the digits."""
    _in_range(value, text, 0, (1 << 64) - 1)
    if text[end:] not in ("", "\n"):
        raise _invalid(text, "a number")
    return value


def parse_unsigned(text: str) -> int:
    """Read 64 bits as kstrtoull does: decimal, 0x hex, leading-0 octal, an optional plus, one newline.

    ERANGE: too large, whatever follows. EINVAL: anything else.
    """
    match = re.match(_NUMBER, text)
    if match is None:
        raise _invalid(text, "a number")
    value = int(match[1], 16) if match[1] else int(match[2], 8) if match[2] else int(match[3])
    return _checked(text, match.end(), value)


def _parse_hex(text: str) -> int:
    match = re.match(_HEX, text)
    if match is None:
        raise _invalid(text, "a hexadecimal number")
    return _checked(text, match.end(), int(match[1], 16))


def parse_int(text: str) -> int:
    """Read 32 bits with a sign, as kstrtoint does. Errors as for ``parse_unsigned``."""
    negative = text.startswith("-")
    value = parse_unsigned(text[1:] if negative and text[1:2] != "+" else text)
    return _in_range(-value if negative else value, text, -(1 << 31), (1 << 31) - 1)


def parse_bool(text: str) -> bool:
    """Read yes or no by the first letters, as kstrtobool does. EINVAL: anything else."""
    first, second = text[:1].lower(), text[:2].lower()
    if first in ("y", "t", "1") or second == "on":
        return True
    if first in ("n", "f", "0") or second == "of":
        return False
    raise _invalid(text, "a truth value")


def parse_range(text: str) -> tuple[int, int]:
    """Read ``start-end``, both hexadecimal, the end inclusive. EINVAL, ERANGE as for numbers."""
    start, dash, end = text.partition("-")
    if not dash:
        raise _invalid(text, "a range start-end")
    return _parse_hex(start), _parse_hex(end)


def device_name(text: str) -> str:
    """Return the name of a dax device as new_id takes it. EINVAL: not ``dax<number>.<number>``."""
    match = re.fullmatch(_DEVICE_NAME, text)
    if match is None or not all(-(1 << 31) <= int(number) < 1 << 31 for number in match.groups()):
        raise _invalid(text, "a name dax<region>.<id>")
    return same_text(text)


def same_text(text: str) -> str:
    """Drop the one newline that a name may end with (sysfs_streq)."""
    return text.removesuffix("\n")
