"""Power failures of a running session: what may be said of them, and what is told."""

from __future__ import annotations

from daxemu.cli._options import Option
from daxemu.pmem.format import LINE_SIZE

__all__ = ["POLICY", "describe_loss", "parse_policy"]

POLICY = Option(
    "policy",
    "POLICY",
    "What survives of lines that were not flushed and fenced: none of the stores, which is the default, all, or one "
    "chosen for each line by a number as seed.",
)


def parse_policy(text: str | None) -> str | int:
    """Return what survives, as ``DaxDevice.power_fail`` takes it, which knows the names."""
    return "none" if text is None else int(text) if text.isdecimal() else text


def describe_loss(lines: int) -> str:
    """How many lines have lost something, in words."""
    return (
        f"{lines or 'no'} line{'' if lines == 1 else 's'} of {LINE_SIZE} bytes "
        f"{'has' if lines == 1 else 'have'} lost something"
    )
