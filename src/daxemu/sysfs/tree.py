"""The projected tree: paths below / and what is there, made anew from the model's objects."""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from daxemu.kernel.bus import DaxBus
from daxemu.kernel.device import DevDax
from daxemu.kernel.region import DaxRegion
from daxemu.sysfs.attributes import DEVICE_ATTRIBUTES, MAPPING_ATTRIBUTES, REGION_ATTRIBUTES

__all__ = ["Entry", "File", "Link", "Tree", "bus_tree", "device_path", "device_tree", "region_tree"]


class File(NamedTuple):
    """A regular file: permission bits and text."""

    mode: int
    text: str


class Link(NamedTuple):
    """A symbolic link."""

    target: str


Entry = File | Link
Tree = dict[str, Entry]

_BUS = "sys/bus/dax"


def _link(at: str, to: str) -> Link:
    return Link(posixpath.relpath(to, posixpath.dirname(at)))


def device_path(device: DevDax) -> str:
    """Path of a device's directory."""
    return f"sys/{device.region.sysfs_parent}/{device.name}"


def _with_links(links: dict[str, str]) -> Tree:
    return {at: _link(at, to) for at, to in links.items()}


def bus_tree(bus: DaxBus) -> Tree:
    """The bus, its drivers, and the modules that tools ask for."""
    tree: Tree = {
        f"{_BUS}/devices/": File(0o755, ""),
        f"{_BUS}/drivers/": File(0o755, ""),
        f"{_BUS}/drivers_autoprobe": File(0o644, "1\n"),
        f"{_BUS}/drivers_probe": File(0o200, ""),
        f"{_BUS}/uevent": File(0o200, ""),
    }
    for name in bus.drivers:
        for control in ("bind", "new_id", "remove_id", "uevent", "unbind"):
            tree[f"{_BUS}/drivers/{name}/{control}"] = File(0o200, "")
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
    tree: Tree = _module(region.provider.module)
    for attribute in REGION_ATTRIBUTES:
        mode = attribute.mode_on(region)
        if mode is not None:
            text = attribute.show(region) if attribute.show else ""
            tree[f"sys/{region.sysfs_parent}/dax_region/{attribute.name}"] = File(mode, text)
    return tree


def device_tree(device: DevDax) -> Tree:
    """A device's directory, the links to it, and its node."""
    home = device_path(device)
    tree: Tree = {f"dev/{device.name}": File(0o600, "")}
    for attribute in DEVICE_ATTRIBUTES:
        mode = attribute.mode_on(device.region)
        if mode is not None:
            tree[f"{home}/{attribute.name}"] = File(mode, attribute.show(device) if attribute.show else "")
    for piece in device.ranges:
        for part in MAPPING_ATTRIBUTES:
            assert part.show is not None
            tree[f"{home}/mapping{piece.mapping_id}/{part.name}"] = File(part.mode, part.show(piece))
        tree[f"{home}/mapping{piece.mapping_id}/uevent"] = File(0o644, "")
    links = {
        f"{home}/subsystem": _BUS,
        f"{_BUS}/devices/{device.name}": home,
        f"sys/dev/char/{device.devt}": home,
    }
    if device.driver is not None:
        links[f"{home}/driver"] = f"{_BUS}/drivers/{device.driver.name}"
        links[f"{_BUS}/drivers/{device.driver.name}/{device.name}"] = home
    return tree | _with_links(links)
