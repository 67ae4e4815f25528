"""The attribute table: every file of the dax bus once, with its mode and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from daxemu.kernel.device import DevDax
from daxemu.kernel.ranges import DaxRange
from daxemu.kernel.region import DaxRegion

__all__ = ["DEVICE_ATTRIBUTES", "MAPPING_ATTRIBUTES", "REGION_ATTRIBUTES", "Attribute", "device_uevent"]

Subject = TypeVar("Subject")


class Attribute(NamedTuple, Generic[Subject]):
    """One sysfs file. ``static_mode`` is its mode on a static region; None where it is absent there.

    ``show`` makes its text, without it the file cannot be read.
    """

    name: str
    mode: int
    static_mode: int | None
    show: Callable[[Subject], str] | None

    def mode_on(self, region: DaxRegion) -> int | None:
        """Permission bits on this region, None if the file is not there."""
        return self.static_mode if region.is_static else self.mode


def device_uevent(device: DevDax) -> str:
    """The lines of a device's ``uevent`` file."""
    lines = [f"MAJOR={device.devt.major}", f"MINOR={device.devt.minor}", f"DEVNAME={device.name}"]
    if device.driver is not None:
        lines.append(f"DRIVER={device.driver.name}")
    return "\n".join([*lines, "MODALIAS=dax:t0"]) + "\n"


def _resource(device: DevDax) -> str:
    start = device.ranges[0].start if device.ranges else device.region.start
    return f"{start:#x}\n"


REGION_ATTRIBUTES: tuple[Attribute[DaxRegion], ...] = (
    Attribute("id", 0o444, 0o444, lambda region: f"{region.id}\n"),
    Attribute("size", 0o444, 0o444, lambda region: f"{region.size}\n"),
    Attribute("align", 0o400, 0o400, lambda region: f"{region.align}\n"),
    Attribute("available_size", 0o444, None, lambda region: f"{region.available_size()}\n"),
    Attribute("seed", 0o444, None, lambda _: "\n"),
    Attribute("create", 0o644, None, lambda _: "\n"),
    Attribute("delete", 0o200, None, None),
)

DEVICE_ATTRIBUTES: tuple[Attribute[DevDax], ...] = (
    Attribute("align", 0o644, 0o444, lambda device: f"{device.align}\n"),
    Attribute("dev", 0o444, 0o444, lambda device: f"{device.devt}\n"),
    Attribute("mapping", 0o200, None, None),
    Attribute("memmap_on_memory", 0o644, 0o644, lambda _: "0\n"),
    Attribute("modalias", 0o444, 0o444, lambda _: "dax:t0\n"),
    Attribute("numa_node", 0o444, 0o444, lambda device: f"{device.region.target_node}\n"),
    Attribute("resource", 0o400, 0o400, _resource),
    Attribute("size", 0o644, 0o444, lambda device: f"{device.size}\n"),
    Attribute("target_node", 0o444, 0o444, lambda device: f"{device.region.target_node}\n"),
    Attribute("uevent", 0o644, 0o644, device_uevent),
)

MAPPING_ATTRIBUTES: tuple[Attribute[DaxRange], ...] = (
    Attribute("start", 0o400, 0o400, lambda piece: f"{piece.start:#x}\n"),
    Attribute("end", 0o400, 0o400, lambda piece: f"{piece.end:#x}\n"),
    Attribute("page_offset", 0o400, 0o400, lambda piece: f"{piece.pgoff:#x}\n"),
)
