"""The attribute table: every file of the dax bus once, with its mode and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from daxemu.kernel.bus import DaxBus
from daxemu.kernel.device import DevDax
from daxemu.kernel.drivers import Driver
from daxemu.kernel.ranges import DaxRange
from daxemu.kernel.region import DaxRegion
from daxemu.sysfs.stores import (
    store_align,
    store_autoprobe,
    store_bind,
    store_create,
    store_delete,
    store_drivers_probe,
    store_mapping,
    store_memmap_on_memory,
    store_new_id,
    store_remove_id,
    store_size,
    store_uevent,
    store_unbind,
)

__all__ = [
    "BUS_ATTRIBUTES",
    "DEVICE_ATTRIBUTES",
    "DRIVER_ATTRIBUTES",
    "MAPPING_ATTRIBUTES",
    "REGION_ATTRIBUTES",
    "Attribute",
    "device_uevent",
]

Subject = TypeVar("Subject")


class Attribute(NamedTuple, Generic[Subject]):
    """One sysfs file. ``static_mode`` is its mode on a static region; None where it is absent there.

    ``show`` makes its text, without it the file cannot be read; ``store`` takes what is written,
    without it the file cannot be written. ``quirk`` names the flavour's property that it needs.
    """

    name: str
    mode: int
    static_mode: int | None
    show: Callable[[Subject], str] | None
    store: Callable[[Subject, str], None] | None = None
    quirk: str = ""

    def mode_on(self, region: DaxRegion) -> int | None:
        """Permission bits on this region, None if the file is not there."""
        if self.quirk and not getattr(region.core.flavour, self.quirk):
            return None
        return self.static_mode if region.is_static else self.mode


def device_uevent(device: DevDax) -> str:
    """The lines of a device's ``uevent`` file."""
    lines = [f"MAJOR={device.devt.major}", f"MINOR={device.devt.minor}", f"DEVNAME={device.name}"]
    if device.driver is not None:
        lines.append(f"DRIVER={device.driver.name}")
    return "\n".join([*lines, "MODALIAS=dax:t0"]) + "\n"


def _name(device: DevDax | None) -> str:
    return f"{device.name}\n" if device else "\n"


def _resource(device: DevDax) -> str:
    start = device.ranges[0].start if device.ranges else device.region.start
    return f"{start:#x}\n"


REGION_ATTRIBUTES: tuple[Attribute[DaxRegion], ...] = (
    Attribute("id", 0o444, 0o444, lambda region: f"{region.id}\n"),
    Attribute("size", 0o444, 0o444, lambda region: f"{region.size}\n"),
    Attribute("align", 0o400, 0o400, lambda region: f"{region.align}\n"),
    Attribute("available_size", 0o444, None, lambda region: f"{region.available_size()}\n"),
    Attribute("seed", 0o444, None, lambda region: _name(region.seed)),
    Attribute("create", 0o644, None, lambda region: _name(region.youngest), store_create),
    Attribute("delete", 0o200, None, None, store_delete),
)

DEVICE_ATTRIBUTES: tuple[Attribute[DevDax], ...] = (
    Attribute("align", 0o644, 0o444, lambda device: f"{device.align}\n", store_align),
    Attribute("dev", 0o444, 0o444, lambda device: f"{device.devt}\n"),
    Attribute("mapping", 0o200, None, None, store_mapping),
    Attribute(
        "memmap_on_memory",
        0o644,
        0o644,
        lambda device: f"{device.memmap_on_memory:d}\n",
        store_memmap_on_memory,
        "memmap_on_memory",
    ),
    Attribute("modalias", 0o444, 0o444, lambda _: "dax:t0\n"),
    Attribute("numa_node", 0o444, 0o444, lambda device: f"{device.region.target_node}\n"),
    Attribute("resource", 0o400, 0o400, _resource),
    Attribute("size", 0o644, 0o444, lambda device: f"{device.size}\n", store_size),
    Attribute("target_node", 0o444, 0o444, lambda device: f"{device.region.target_node}\n"),
    Attribute("uevent", 0o644, 0o644, device_uevent, store_uevent),
)

DRIVER_ATTRIBUTES: tuple[Attribute[Driver], ...] = (
    Attribute("bind", 0o200, 0o200, None, store_bind),
    Attribute("new_id", 0o200, 0o200, None, store_new_id),
    Attribute("remove_id", 0o200, 0o200, None, store_remove_id),
    Attribute("uevent", 0o200, 0o200, None, store_uevent),
    Attribute("unbind", 0o200, 0o200, None, store_unbind),
)

BUS_ATTRIBUTES: tuple[Attribute[DaxBus], ...] = (
    Attribute("drivers_autoprobe", 0o644, 0o644, lambda bus: f"{bus.autoprobe:d}\n", store_autoprobe),
    Attribute("drivers_probe", 0o200, 0o200, None, store_drivers_probe),
    Attribute("uevent", 0o200, 0o200, None, store_uevent),
)

MAPPING_ATTRIBUTES: tuple[Attribute[DaxRange], ...] = (
    Attribute("start", 0o400, 0o400, lambda piece: f"{piece.start:#x}\n"),
    Attribute("end", 0o400, 0o400, lambda piece: f"{piece.end:#x}\n"),
    Attribute("page_offset", 0o400, 0o400, lambda piece: f"{piece.pgoff:#x}\n"),
    Attribute("uevent", 0o644, 0o644, lambda _: "", store_uevent),
)
