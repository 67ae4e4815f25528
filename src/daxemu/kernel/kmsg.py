"""The kernel's log: the levels of its lines, and the lines that more than one place writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daxemu.kernel.device import DevDax

__all__ = ["KERN_ERR", "KERN_INFO", "KERN_WARNING", "mmap_refused"]

KERN_ERR = 3
KERN_WARNING = 4
KERN_INFO = 6


def mmap_refused(device: DevDax, comm: str, *, shared: bool, start: int, end: int) -> None:
    """Log why check_vma refused a living device's mapping [start, end) to the program ``comm``."""
    why = "attempted private mapping"
    if shared:
        why = f"unaligned vma ({start:#x} - {end:#x}, {device.align - 1:#x})"
    device.log(KERN_INFO, f"{comm}: dax_mmap: fail, {why}")
