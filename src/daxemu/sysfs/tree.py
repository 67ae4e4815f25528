"""The projected tree: paths below / and what is there, made anew from the model's objects."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from daxemu.errors import KernelError
from daxemu.kernel.bus import DaxBus
from daxemu.kernel.device import DevDax
from daxemu.kernel.region import DaxRegion
from daxemu.sysfs.attributes import (
    BUS_ATTRIBUTES,
    DEVICE_ATTRIBUTES,
    DRIVER_ATTRIBUTES,
    MAPPING_ATTRIBUTES,
    REGION_ATTRIBUTES,
    Attribute,
)

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore

__all__ = ["Entry", "File", "Link", "Tree", "bus_tree", "device_path", "device_tree", "find_store", "region_tree"]


class File(NamedTuple):
    """A regular file: permission bits and text."""

    mode: int
    text: str


class Link(NamedTuple):
    """A symbolic link."""

    target: str


Entry = File | Link
Tree = dict[str, Entry]
Store = Callable[[str], None]
Subject = TypeVar("Subject")

_BUS = "sys/bus/dax"


def _link(at: str, to: str) -> Link:
    return Link(posixpath.relpath(to, posixpath.dirname(at)))


def device_path(device: DevDax) -> str:
    """Path of a device's directory."""
    return f"sys/{device.region.sysfs_parent}/{device.name}"


def _with_links(links: dict[str, str]) -> Tree:
    return {at: _link(at, to) for at, to in links.items()}


def _files(home: str, attributes: Iterable[Attribute[Subject]], subject: Subject, region: DaxRegion | None) -> Tree:
    """The attribute files of one object below its directory."""
    tree: Tree = {}
    for attribute in attributes:
        mode = attribute.mode_on(region) if region else attribute.mode
        if mode is not None:
            tree[f"{home}/{attribute.name}"] = File(mode, attribute.show(subject) if attribute.show else "")
    return tree


def bus_tree(bus: DaxBus) -> Tree:
    """The bus, its drivers, and the modules that tools ask for."""
    tree: Tree = {f"{_BUS}/devices/": File(0o755, ""), f"{_BUS}/drivers/": File(0o755, "")}
    tree |= _files(_BUS, BUS_ATTRIBUTES, bus, None)
    for name, driver in bus.drivers.items():
        tree |= _files(f"{_BUS}/drivers/{name}", DRIVER_ATTRIBUTES, driver, None)
        tree |= _module(name)
        tree |= _with_links(
            {
                f"{_BUS}/drivers/{name}/module": f"sys/module/{name}",
                f"sys/module/{name}/drivers/dax:{name}": f"{_BUS}/drivers/{name}",
            }
        )
    return tree


def _module(name: str) -> Tree:
    return {
        f"sys/module/{name}/initstate": File(0o444, "live\n"),
        f"sys/module/{name}/refcnt": File(0o444, "0\n"),
    }


def region_tree(region: DaxRegion) -> Tree:
    """A region's own directory."""
    home = f"sys/{region.sysfs_parent}/dax_region"
    return _module(region.provider.module) | _files(home, REGION_ATTRIBUTES, region, region)


def device_tree(device: DevDax) -> Tree:
    """A device's directory, the links to it, and its node."""
    home = device_path(device)
    tree: Tree = {f"dev/{device.name}": File(0o600, "")}
    tree |= _files(home, DEVICE_ATTRIBUTES, device, device.region)
    for piece in device.ranges:
        tree |= _files(f"{home}/mapping{piece.mapping_id}", MAPPING_ATTRIBUTES, piece, device.region)
    links = {
        f"{home}/subsystem": _BUS,
        f"{_BUS}/devices/{device.name}": home,
        f"sys/dev/char/{device.devt}": home,
    }
    if device.driver is not None:
        links[f"{home}/driver"] = f"{_BUS}/drivers/{device.driver.name}"
        links[f"{_BUS}/drivers/{device.driver.name}/{device.name}"] = home
    return tree | _with_links(links)


def _store_in(attributes: Iterable[Attribute[Subject]], name: str, subject: Subject, region: DaxRegion | None) -> Store:
    for attribute in attributes:
        mode = attribute.mode_on(region) if region else attribute.mode
        if attribute.name == name and attribute.store and mode is not None and mode & 0o222:
            return partial(attribute.store, subject)
    raise KernelError(errno.EACCES, f"{name} cannot be written")


def find_store(core: DaxCore, path: str) -> Store:
    """Return what to call with the text written to the attribute at this path below /.

    ENODEV: the object is gone, or was never there. EACCES: the attribute cannot be written.
    """
    home, _, name = path.rpartition("/")
    parent, _, last = home.rpartition("/")
    if home == _BUS:
        return _store_in(BUS_ATTRIBUTES, name, core.bus, None)
    if parent == f"{_BUS}/drivers" and last in core.bus.drivers:
        return _store_in(DRIVER_ATTRIBUTES, name, core.bus.drivers[last], None)
    for region in core.regions.values() if last == "dax_region" else ():
        if parent == f"sys/{region.sysfs_parent}":
            return _store_in(REGION_ATTRIBUTES, name, region, region)
    if last.startswith("mapping"):
        home, _, last = home.rpartition("/")
    device = core.bus.devices.get(home.rpartition("/")[2])
    if device is None or device_path(device) != home:
        raise KernelError(errno.ENODEV, f"/{path}: the device is gone")
    if not last.startswith("mapping"):
        return _store_in(DEVICE_ATTRIBUTES, name, device, device.region)
    for piece in device.ranges:
        if f"mapping{piece.mapping_id}" == last:
            return _store_in(MAPPING_ATTRIBUTES, name, piece, device.region)
    raise KernelError(errno.ENODEV, f"/{path}: the mapping is gone")
