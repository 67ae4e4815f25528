"""The part of the tree that hangs on the nvdimm bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daxemu.kernel.nvdimm.claim import BttClaim, Claim
from daxemu.kernel.nvdimm.device import NdDevice
from daxemu.kernel.nvdimm.namespace import Namespace
from daxemu.kernel.nvdimm.region import Dimm, NdRegion
from daxemu.sysfs.directory import Directories, Directory, File, Link, Tree, files_in, links_to
from daxemu.sysfs.nvdimm_attributes import (
    BTT_ATTRIBUTES,
    CONTROL_ATTRIBUTES,
    DIMM_ATTRIBUTES,
    DIMM_FIRMWARE_ATTRIBUTES,
    DISK_ATTRIBUTES,
    NAMESPACE_ATTRIBUTES,
    ND_BUS_ATTRIBUTES,
    ND_DRIVER_ATTRIBUTES,
    ND_REGION_ATTRIBUTES,
    ND_REGION_FIRMWARE_ATTRIBUTES,
    NDBUS_ATTRIBUTES,
    NDBUS_FIRMWARE_ATTRIBUTES,
    PAGE_MAP_ATTRIBUTES,
)
from daxemu.sysfs.parts import module_directory, power_directory

if TYPE_CHECKING:
    from daxemu.kernel.nvdimm.bus import NvdimmBus

__all__ = ["nvdimm_bus_tree", "nvdimm_directories", "nvdimm_region_tree"]

_BUS = "sys/bus/nd"


# -- the bus ------------------------------------------------------------------------------------


def _bus_directories(bus: NvdimmBus) -> Directories:
    home = f"sys/{bus.home}"
    yield Directory(_BUS, ND_BUS_ATTRIBUTES, bus)
    yield Directory(home, NDBUS_ATTRIBUTES, bus)
    yield Directory(f"{home}/nfit", NDBUS_FIRMWARE_ATTRIBUTES, bus)
    yield Directory(f"{home}/nd/ndctl0", CONTROL_ATTRIBUTES, bus.control)
    for name, driver in bus.drivers.items():
        yield Directory(f"{_BUS}/drivers/{name}", ND_DRIVER_ATTRIBUTES, driver)
        yield module_directory(bus.core, driver.module)


def nvdimm_bus_tree(bus: NvdimmBus) -> Tree:
    """The bus with its drivers."""
    home, control = f"sys/{bus.home}", f"sys/{bus.home}/nd/ndctl0"
    links = {
        f"{home}/subsystem": _BUS,
        f"{home}/driver": f"{_BUS}/drivers/nd_bus",
        f"{_BUS}/drivers/nd_bus/{bus.name}": home,
        f"{_BUS}/drivers/nd_bus/module": "sys/module/libnvdimm",
        f"{_BUS}/devices/{bus.name}": home,
        f"{control}/subsystem": "sys/class/nd",
        "sys/class/nd/ndctl0": control,
        f"sys/dev/char/{bus.control.devt}": control,
    }
    for name, driver in bus.drivers.items():
        links[f"{_BUS}/drivers/{name}/module"] = f"sys/module/{driver.module}"
        links[f"sys/module/{driver.module}/drivers/nd:{name}"] = f"{_BUS}/drivers/{name}"
    own: Tree = {
        f"{home}/firmware/": File(0o755, ""),
        f"{control}/device": Link(f"../../../{bus.name}"),
    }
    return own | files_in(_bus_directories(bus)) | links_to(links)


# -- a region -----------------------------------------------------------------------------------


def _device_directories(device: NdDevice, region: NdRegion) -> Directories:
    home = f"sys/{device.home}"
    if isinstance(device, Dimm):
        yield Directory(home, DIMM_ATTRIBUTES, device)
        yield Directory(f"{home}/nfit", DIMM_FIRMWARE_ATTRIBUTES, device)
    elif isinstance(device, NdRegion):
        yield Directory(home, ND_REGION_ATTRIBUTES, device)
        yield Directory(f"{home}/nfit", ND_REGION_FIRMWARE_ATTRIBUTES, device)
    elif isinstance(device, Namespace):
        yield Directory(home, NAMESPACE_ATTRIBUTES, device)
        if device.disk is not None:
            yield Directory(f"sys/{device.disk.home}", DISK_ATTRIBUTES, device.disk)
    elif isinstance(device, Claim):
        yield Directory(home, BTT_ATTRIBUTES if isinstance(device, BttClaim) else PAGE_MAP_ATTRIBUTES, device)
    yield power_directory(home, device.power, region)


def _links(device: NdDevice) -> dict[str, str]:
    home = f"sys/{device.home}"
    links = {f"{home}/subsystem": _BUS, f"{_BUS}/devices/{device.name}": home}
    if device.driver is not None:
        links[f"{home}/driver"] = f"{_BUS}/drivers/{device.driver.name}"
        links[f"{_BUS}/drivers/{device.driver.name}/{device.name}"] = home
    if device.devt is not None:
        links[f"sys/dev/char/{device.devt}"] = home
    disk = device.disk if isinstance(device, Namespace) else None
    if disk is not None:
        home = f"sys/{disk.home}"
        links[f"{home}/device"] = f"sys/{device.home}"
        links[f"{home}/subsystem"] = "sys/class/block"
        links |= {f"sys/{where}": home for where in (f"block/{disk.name}", f"class/block/{disk.name}")}
        links[f"sys/dev/block/{disk.devt}"] = home
    return links


def nvdimm_region_tree(region: NdRegion) -> Tree:
    """A region with its module, namespace and claims."""
    dimm = region.dimm
    tree: Tree = {f"sys/{dimm.home}/firmware/": File(0o755, "")}
    for device in region.devices():
        tree |= files_in(_device_directories(device, region)) | links_to(_links(device))
    return tree


def nvdimm_directories(bus: NvdimmBus, path: str) -> Directories:
    """All directories of the bus that may have this path."""
    yield from _bus_directories(bus)
    for part in path.split("/"):
        found = bus.devices.get(part)
        region = found.region if isinstance(found, Dimm) else found
        if isinstance(region, NdRegion):
            for device in region.devices():
                yield from _device_directories(device, region)
