"""Where daxemu is meant to answer otherwise than a real kernel: the one list, which the documentation shows."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

__all__ = ["DIFFERENCES", "Difference", "assert_alike", "documented"]


class Difference(NamedTuple):
    """What a kernel does, what daxemu does, and why.

    ``program`` and ``line`` (patterns for the whole name and line) are what is therefore not compared, on the
    ``machines`` of this pattern (KERNEL-TOPOLOGY); without them no program and no sequence goes there.
    """

    kernel: str
    daxemu: str
    reason: str
    program: str = ""
    line: str = ""
    machines: str = ".*"

    def covers(self, program: str, machine: str, line: str) -> bool:
        patterns = ((self.program, program), (self.machines, machine), (self.line, line))
        return bool(self.program) and all(re.fullmatch(pattern, text) for pattern, text in patterns)


DIFFERENCES = (
    Difference(
        "While a device is unbound, open of its node works if another file of that very node is still open; mmap of it "
        "answers ENXIO.",
        "open answers ENXIO, as through any other node.",
        "A stale pointer that the inode caches; what it leads to may be gone.",
    ),
    Difference(
        "A device that is bound again while a file of it is open works, but the last close of that file finds a "
        "character device that was set up anew in use: a refcount underflow, a corrupted list, or an oops.",
        "It works, and so does the last close.",
        "A defect of the kernel that no program can depend on.",
    ),
    Difference(
        "A range appended to a bound device by `mapping` can be mapped at once, though it has no page structures; "
        "touching it is an oops.",
        "Touching it works.",
        "A defect of the kernel that no program can depend on.",
    ),
    Difference(
        "A device of 1 GiB alignment may have ranges that begin between two gigabytes; a touch reaches the memory "
        "before the range, whoever it belongs to.",
        "It reaches the device's own.",
        "A defect of the kernel; what it reaches is not an emulated device's to show.",
    ),
    Difference(
        "`/proc/PID/maps`, `smaps` and `map_files` show a mapping with the node by which the device was opened.",
        "They show the node in `/dev`.",
        "A mapping is recognised by the memory behind it, and all nodes lead to the same.",
        program="views",
        line=".* blocks rwxs at 0 of .*",
    ),
    Difference(
        "`power/autosuspend_delay_ms` has mode 0644, and reading or writing it is EIO.",
        "It has mode 0, and opening it is EACCES.",
        "An attribute that programs read is a plain file here; none answers EIO.",
        program="tree",
        line=".*/power/autosuspend_delay_ms .*",
    ),
    Difference(
        "smaps of Linux 6.1 tells blocks that were stored to from others: `Private_Dirty` and `Private_Clean`.",
        "All blocks of a mapping count as stored to while it may be written, else none.",
        "The machine's kernel does not tell which of them were.",
        program="counted",
        line="  Private_(Clean|Dirty): .*",
        machines=r"6\.1-(hmem|pmem2M)",
    ),
    Difference(
        "The driver's messages in the kernel's log are limited in their rate.",
        "Every one is logged.",
        "Tests should be able to count on them.",
    ),
)


def documented() -> str:
    """The list as the documentation's table."""
    head = ("| Linux | daxemu | Why |", "| --- | --- | --- |")
    return "\n".join([*head, *(f"| {d.kernel} | {d.daxemu} | {d.reason} |" for d in DIFFERENCES)]) + "\n"


def assert_alike(program: str, kernel: str, topology: str, real: str, emulated: str) -> None:
    """What a real kernel and daxemu answered to a program is the same, but for what is intended."""
    theirs, ours = (_without_intended(program, f"{kernel}-{topology}", output) for output in (real, emulated))
    difference = difflib.unified_diff(theirs, ours, f"{program}: Linux {kernel}", "daxemu", n=1, lineterm="")
    assert theirs == ours, "\n" + "\n".join(difference)


def _without_intended(program: str, machine: str, output: str) -> list[str]:
    """The lines, with a mark for those that are not compared."""
    return [
        "(an intended difference)"
        if any(difference.covers(program, machine, line) for difference in DIFFERENCES)
        else line
        for line in output.splitlines()
    ]
