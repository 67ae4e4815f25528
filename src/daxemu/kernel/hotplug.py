"""Surprise removal of a device from a dynamic region, and its return."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import NamedTuple

from daxemu.errors import KernelError
from daxemu.kernel.device import DevDax
from daxemu.kernel.ranges import DaxRange
from daxemu.kernel.region import DaxRegion

__all__ = ["Absent", "plug_device", "unplug_device"]


class Absent(NamedTuple):
    """What was pulled out: the place stays empty until it returns. Nobody else gets its id or its memory."""

    region: DaxRegion
    id: int
    align: int
    memmap_on_memory: bool
    driver: str
    pieces: list[DaxRange]


def unplug_device(device: DevDax) -> Absent:
    """Take a device's memory out of the machine: it is unbound, and gone from the bus. ENODEV: it is gone already."""
    region, core, number = device.region, device.core, device.id
    driver = device.driver.name if device.driver else "none"
    pieces = [DaxRange(f"absent {device.name}", piece.start, piece.end, piece.pgoff) for piece in device.ranges]
    core.remove_device(device)
    core._free_id(device)  # open files may hold the device itself
    region.ida.take(number)
    for piece in pieces:
        region.resource.insert(piece)
    return Absent(region, number, device.align, device.memmap_on_memory, driver, pieces)


def plug_device(absent: Absent) -> DevDax:
    """Bring a device back as it was, with its driver. ENODEV: the region is gone meanwhile."""
    region = absent.region
    if not region.published:
        raise KernelError(errno.ENODEV, f"region {region.id} was removed")
    with ExitStack() as undo:
        region.ida.free(absent.id)
        undo.callback(region.ida.take, absent.id)
        device = region.core.create_device(
            region, 0, driver="none", memmap_on_memory=absent.memmap_on_memory, number=absent.id
        )
        undo.callback(region.core.remove_device, device)
        if device.align != absent.align:
            device.set_align(absent.align)
        for piece in absent.pieces:
            region.resource.remove(piece)
            undo.callback(region.resource.insert, piece)
            device.add_range(piece.start, piece.end)
            undo.callback(device.resize, device.size - piece.size)
        if device.size:
            region.core.hand_over(device, absent.driver)
        undo.pop_all()
    return device
