"""What writing an attribute does: read the text as the kernel does, then ask the model."""

from __future__ import annotations

import errno
from typing import Protocol

from daxemu.errors import KernelError
from daxemu.kernel.bus import DaxBus
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.drivers import Driver, Kmem
from daxemu.kernel.ports import Event
from daxemu.kernel.power import Power
from daxemu.kernel.region import DaxRegion
from daxemu.kernel.uevent import HasKobject
from daxemu.sysfs.parse import device_name, parse_bool, parse_int, parse_range, parse_unsigned, same_text

__all__ = [
    "store_align",
    "store_autoprobe",
    "store_bind",
    "store_create",
    "store_delete",
    "store_driver_override",
    "store_drivers_probe",
    "store_mapping",
    "store_memmap_on_memory",
    "store_new_id",
    "store_power_async",
    "store_power_control",
    "store_region_idle",
    "store_remove_id",
    "store_size",
    "store_uevent",
    "store_unbind",
]


class Announcing(HasKobject, Protocol):
    """An object of the model that knows the subsystem it is part of."""

    @property
    def core(self) -> DaxCore:
        """The subsystem."""


def store_size(device: DevDax, text: str) -> None:
    """Resize. EINVAL, ERANGE: no number; then as ``DevDax.resize``."""
    device.resize(parse_unsigned(text))


def store_align(device: DevDax, text: str) -> None:
    """Change the alignment. ENXIO: no number, whatever is wrong with it; then as ``DevDax.set_align``."""
    try:
        align = parse_unsigned(text)
    except KernelError:
        raise KernelError(errno.ENXIO, f"{text!r} is not a number") from None
    device.set_align(align)


def store_mapping(device: DevDax, text: str) -> None:
    """Append a physical range. EINVAL, ERANGE: no range; then as ``DevDax.add_range``."""
    device.add_range(*parse_range(text))


def store_memmap_on_memory(device: DevDax, text: str) -> None:
    """Choose where kmem keeps its page structures. EINVAL: no truth value. EOPNOTSUPP: yes. EBUSY: bound to kmem."""
    wanted = parse_bool(text)
    if wanted:
        raise KernelError(errno.EOPNOTSUPP, "this machine's memory hotplug has no memmap_on_memory")
    if device.memmap_on_memory != wanted and isinstance(device.driver, Kmem):
        raise KernelError(errno.EBUSY, f"{device.name} is bound to kmem")
    device.memmap_on_memory = wanted


def store_create(region: DaxRegion, text: str) -> None:
    """Make an empty device. EINVAL, ERANGE: no number; EINVAL: not 1; ENOSPC: the region is full."""
    if parse_int(text) != 1:
        raise KernelError(errno.EINVAL, "only 1 may be written to create")
    region.core.create_seed(region)


def store_delete(region: DaxRegion, text: str) -> None:
    """Delete a device by name. ENXIO: the region has none of that name; then as ``DaxCore.delete_device``."""
    name = same_text(text)
    if name not in region.children:
        raise KernelError(errno.ENXIO, f"region {region.id} has no device {name!r}")
    region.core.delete_device(region.children[name])


def store_new_id(driver: Driver, text: str) -> None:
    """Have the driver take a device by name. EINVAL: no device's name."""
    driver.bus.add_id(driver, device_name(text))


def store_remove_id(driver: Driver, text: str) -> None:
    """Have the driver no longer take a device by name; it stays bound. EINVAL: no device's name."""
    driver.ids.discard(device_name(text))


def store_bind(driver: Driver, text: str) -> None:
    """Bind a device. ENODEV: unknown, or the driver does not take it; then as ``DaxBus.bind``."""
    device = driver.bus.devices.get(same_text(text))
    if device is None or not driver.bus.match(driver, device):
        raise KernelError(errno.ENODEV, f"{driver.name} does not take {text!r}")
    driver.bus.bind(device, driver.name)


def store_unbind(driver: Driver, text: str) -> None:
    """Unbind a device. ENODEV: it is not bound to this driver."""
    device = driver.bus.devices.get(same_text(text))
    if device is None or device.driver is not driver:
        raise KernelError(errno.ENODEV, f"{driver.name} has not bound {text!r}")
    driver.bus.unbind(device)


def store_drivers_probe(bus: DaxBus, text: str) -> None:
    """Offer an unbound device to the drivers; that none takes it is no error. ENODEV: unknown."""
    device = bus.devices.get(same_text(text))
    if device is None:
        raise KernelError(errno.ENODEV, f"no device {text!r} on the dax bus")
    if device.driver is None:
        bus.probe(device)


def store_autoprobe(bus: DaxBus, text: str) -> None:
    """Offer new devices to the drivers, unless the text begins with 0."""
    bus.autoprobe = not text.startswith("0")


def store_driver_override(region: DaxRegion, text: str) -> None:
    """Say which driver may have the region's parent; an empty line: any."""
    region.override_driver(same_text(text))


def store_region_idle(core: DaxCore, text: str) -> None:
    """Choose whether regions to come begin without memory. EINVAL: no truth value."""
    core.region_idle = parse_bool(text)
    for region in core.regions.values():
        core.publish(Event("change", region))


def store_power_control(power: Power, text: str) -> None:
    """Allow or forbid to save power at run time. EINVAL: neither ``auto`` nor ``on``."""
    _choose(power, "control", text, ("auto", "on"))


def store_power_async(power: Power, text: str) -> None:
    """Allow or forbid to suspend in parallel. EINVAL: neither ``enabled`` nor ``disabled``."""
    _choose(power, "asynchronous", text, ("enabled", "disabled"))


def _choose(power: Power, name: str, text: str, choices: tuple[str, ...]) -> None:
    if same_text(text) not in choices:
        raise KernelError(errno.EINVAL, f"{text!r} is none of {', '.join(choices)}")
    power.set(name, same_text(text))


def store_uevent(subject: Announcing, text: str) -> None:
    """Send user space an event. EINVAL: no action's name, or arguments that are not ``UUID KEY=VALUE …``."""
    subject.core.synthesize_uevent(subject, text)
