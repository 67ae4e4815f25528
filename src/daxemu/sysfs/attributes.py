"""The attribute table: every file of the dax bus once, with its mode and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from daxemu.kernel.bus import DaxBus
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DaxMapping, DevDax
from daxemu.kernel.drivers import Driver
from daxemu.kernel.module import Module
from daxemu.kernel.power import Power
from daxemu.kernel.providers import ProviderDriver
from daxemu.kernel.region import DaxRegion
from daxemu.kernel.uevent import HasKobject
from daxemu.sysfs.stores import (
    store_align,
    store_autoprobe,
    store_bind,
    store_create,
    store_delete,
    store_driver_override,
    store_drivers_probe,
    store_mapping,
    store_memmap_on_memory,
    store_new_id,
    store_power_async,
    store_power_control,
    store_region_idle,
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
    "MODULE_ATTRIBUTES",
    "PARAMETERS",
    "PARENT_ATTRIBUTES",
    "POWER_ATTRIBUTES",
    "PROVIDER_DRIVER_ATTRIBUTES",
    "REGION_ATTRIBUTES",
    "Attribute",
    "Subject",
    "show_uevent",
]

Subject = TypeVar("Subject")


class Attribute(NamedTuple, Generic[Subject]):
    """One sysfs file. ``static_mode`` is its mode on a static region; None where it is absent there.

    ``show`` makes its text, or None while it cannot be read; without it the file never can be.
    ``store`` takes what is written; without it the file cannot be written. ``quirk`` names the
    flavour's property that it needs; ``present`` tells whether an object has it at all.
    """

    name: str
    mode: int
    static_mode: int | None
    show: Callable[[Subject], str | None] | None
    store: Callable[[Subject, str], None] | None = None
    quirk: str = ""
    present: Callable[[Subject], bool] | None = None

    def mode_on(self, region: DaxRegion) -> int | None:
        """Permission bits on this region, None if the file is not there."""
        if self.quirk and not getattr(region.core.flavour, self.quirk):
            return None
        return self.static_mode if region.is_static else self.mode


def show_uevent(subject: HasKobject) -> str:
    """What the file ``uevent`` of any object shows."""
    return subject.kobject().uevent_file()


def _name(device: DevDax | None) -> str:
    return f"{device.name}\n" if device else "\n"


def _forbidden(power: Power, allowed: str, forbidden: str) -> str:
    return allowed if power.settings.control == "auto" else forbidden


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
    Attribute("numa_node", 0o444, 0o444, lambda device: f"{device.region.numa_node}\n"),
    Attribute("resource", 0o400, 0o400, _resource),
    Attribute("size", 0o644, 0o444, lambda device: f"{device.size}\n", store_size),
    Attribute(
        "target_node",
        0o444,
        0o444,
        lambda device: f"{device.region.target_node}\n",
        present=lambda device: device.region.target_node >= 0,
    ),
    Attribute("uevent", 0o644, 0o644, show_uevent, store_uevent),
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

MAPPING_ATTRIBUTES: tuple[Attribute[DaxMapping], ...] = (
    Attribute("start", 0o400, 0o400, lambda mapping: f"{mapping.range.start:#x}\n"),
    Attribute("end", 0o400, 0o400, lambda mapping: f"{mapping.range.end:#x}\n"),
    Attribute("page_offset", 0o400, 0o400, lambda mapping: f"{mapping.range.pgoff:#x}\n"),
    Attribute("uevent", 0o644, 0o644, show_uevent, store_uevent),
)

# The device that carries a region; each provider's has some of these.
PARENT_ATTRIBUTES: tuple[Attribute[DaxRegion], ...] = (
    Attribute("devtype", 0o444, 0o444, lambda region: f"{region.provider.devtype}\n"),
    Attribute(
        "driver_override", 0o644, 0o644, lambda region: f"{region.driver_override or '(null)'}\n", store_driver_override
    ),
    Attribute("modalias", 0o444, 0o444, lambda region: f"{region.provider.modalias}\n"),
    Attribute("numa_node", 0o444, 0o444, lambda region: f"{region.numa_node}\n"),
    Attribute("uevent", 0o644, 0o644, show_uevent, store_uevent),
)

MODULE_ATTRIBUTES: tuple[Attribute[Module], ...] = (
    Attribute("initsize", 0o444, 0o444, lambda _: "0\n"),
    Attribute("initstate", 0o444, 0o444, lambda _: "live\n"),
    Attribute("refcnt", 0o444, 0o444, lambda _: "0\n"),
    Attribute("taint", 0o444, 0o444, lambda _: "\n"),
    Attribute("uevent", 0o200, 0o200, None, store_uevent),
)

PROVIDER_DRIVER_ATTRIBUTES: tuple[Attribute[ProviderDriver], ...] = (
    Attribute("uevent", 0o200, 0o200, None, store_uevent),
)

PARAMETERS: tuple[Attribute[DaxCore], ...] = (
    Attribute("region_idle", 0o644, 0o644, lambda core: "Y\n" if core.region_idle else "N\n", store_region_idle),
)

# In the directory ``power`` of every device: none of them has runtime power management.
# (autosuspend_delay_ms is 0644 there, and EIO to read and to write: a file that can be neither comes nearest.)
POWER_ATTRIBUTES: tuple[Attribute[Power], ...] = (
    Attribute("async", 0o644, 0o644, lambda power: f"{power.settings.asynchronous}\n", store_power_async),
    Attribute("autosuspend_delay_ms", 0o000, 0o000, None),
    Attribute("control", 0o644, 0o644, lambda power: f"{power.settings.control}\n", store_power_control),
    Attribute("runtime_active_kids", 0o444, 0o444, lambda _: "0\n"),
    Attribute("runtime_active_time", 0o444, 0o444, lambda _: "0\n"),
    Attribute("runtime_enabled", 0o444, 0o444, lambda power: _forbidden(power, "disabled\n", "disabled & forbidden\n")),
    Attribute("runtime_status", 0o444, 0o444, lambda _: "unsupported\n"),
    Attribute("runtime_suspended_time", 0o444, 0o444, lambda _: "0\n"),
    Attribute("runtime_usage", 0o444, 0o444, lambda power: _forbidden(power, "0\n", "1\n")),
)
