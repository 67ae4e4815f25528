"""What must be known of a dynamic region's devices to make them again, in plain values."""

from __future__ import annotations

import errno
from typing import Any

from daxemu.errors import KernelError
from daxemu.kernel.device import DevDax
from daxemu.kernel.region import DaxRegion

__all__ = ["record_device", "record_region", "restore_device", "restore_region"]


def record_device(device: DevDax) -> dict[str, Any]:
    """A device as it is."""
    return {
        "id": device.id,
        "align": device.align,
        "memmap_on_memory": device.memmap_on_memory,
        "read_only": device.read_only,
        "driver": device.driver.name if device.driver else "none",
        "ranges": [[piece.start, piece.end] for piece in device.ranges],
    }


def record_region(region: DaxRegion) -> dict[str, Any]:
    """A region's devices as they are, and which of them it names as seed and as youngest."""
    return {
        "devices": [record_device(device) for device in region.children.values()],
        "seed": region.seed.id if region.seed else None,
        "youngest": region.youngest.id if region.youngest else None,
    }


def restore_device(region: DaxRegion, record: dict[str, Any]) -> DevDax:
    """Make a device again, unbound; the first one of a region is there already, without a size."""
    number = record["id"]
    device = next((device for device in region.children.values() if device.id == number), None)
    device = device or region.core.create_device(region, 0, driver="none", number=number)
    device.memmap_on_memory = record["memmap_on_memory"]
    device.read_only = record["read_only"]
    if device.align != record["align"]:
        device.set_align(record["align"])
    for start, end in record["ranges"]:
        device.add_range(start, end)
    if record_device(device)["ranges"] != record["ranges"]:  # what is misaligned is ignored, not refused
        raise KernelError(errno.EINVAL, f"{device.name} cannot have the ranges {record['ranges']}")
    return device


def restore_region(region: DaxRegion, record: dict[str, Any]) -> list[tuple[DevDax, str]]:
    """Make an empty dynamic region's devices again, unbound; return each with the driver that had it."""
    made = [(restore_device(region, entry), entry["driver"]) for entry in record["devices"]]
    known = {device.id: device for device, _ in made}
    region.seed = known.get(record["seed"])
    region.youngest = known.get(record["youngest"])
    return made
