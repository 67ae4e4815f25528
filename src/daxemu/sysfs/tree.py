"""The projected tree: paths below / and what is there, made anew from the model's objects."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.bus import DaxBus
from daxemu.kernel.device import DevDax
from daxemu.kernel.providers import ProviderDriver
from daxemu.kernel.region import DaxRegion
from daxemu.sysfs.attributes import (
    BUS_ATTRIBUTES,
    DEVICE_ATTRIBUTES,
    DRIVER_ATTRIBUTES,
    MAPPING_ATTRIBUTES,
    PARAMETERS,
    PARENT_ATTRIBUTES,
    PROVIDER_DRIVER_ATTRIBUTES,
    REGION_ATTRIBUTES,
)
from daxemu.sysfs.directory import Directories, Directory, File, Store, Tree, files_in, links_to
from daxemu.sysfs.nvdimm import nvdimm_directories
from daxemu.sysfs.parts import module_directory, power_directory

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore

__all__ = ["bus_tree", "device_path", "device_tree", "find_store", "region_tree"]

_BUS = "sys/bus/dax"


def device_path(device: DevDax) -> str:
    """Path of a device's directory."""
    return f"sys{device.devpath}"


# -- the bus ------------------------------------------------------------------------------------


def _bus_directories(bus: DaxBus) -> Directories:
    yield Directory(_BUS, BUS_ATTRIBUTES, bus)
    for name, driver in bus.drivers.items():
        yield Directory(f"{_BUS}/drivers/{name}", DRIVER_ATTRIBUTES, driver)
        yield module_directory(bus.core, name)


def bus_tree(bus: DaxBus) -> Tree:
    """The bus, its drivers, and the modules that tools ask for."""
    tree: Tree = {f"{_BUS}/devices/": File(0o755, ""), f"{_BUS}/drivers/": File(0o755, "")}
    tree |= files_in(_bus_directories(bus))
    for name in bus.drivers:
        tree |= links_to(
            {
                f"{_BUS}/drivers/{name}/module": f"sys/module/{name}",
                f"sys/module/{name}/drivers/dax:{name}": f"{_BUS}/drivers/{name}",
            }
        )
    return tree


# -- a region -----------------------------------------------------------------------------------


def _region_directories(region: DaxRegion) -> Directories:
    home = f"sys/{region.sysfs_parent}"
    core, provider = region.core, region.provider
    files = [attribute for attribute in PARENT_ATTRIBUTES if attribute.name in provider.files]
    parameters = [attribute for attribute in PARAMETERS if attribute.name in provider.parameters]
    yield module_directory(core, provider.module)
    yield Directory(f"sys/module/{provider.module}/parameters", parameters, core)
    if provider.shows_bus:
        driver = ProviderDriver(core, provider)
        yield Directory(f"sys/{driver.path}", PROVIDER_DRIVER_ATTRIBUTES, driver)
    if region.claim is None:  # else the nvdimm bus shows what carries the region
        yield Directory(home, files, region, region)
        yield power_directory(home, region.power, region)
    yield Directory(f"{home}/dax_region", REGION_ATTRIBUTES, region, region)


def region_tree(region: DaxRegion) -> Tree:
    """A region's own directory, and that of the device which carries it."""
    provider, tree = region.provider, files_in(_region_directories(region))
    if not provider.shows_bus:
        return tree
    home, module = f"sys/{region.sysfs_parent}", f"sys/module/{provider.module}"
    bus, driver = f"sys/bus/{provider.bus}", f"sys/{ProviderDriver(region.core, provider).path}"
    name = home.rpartition("/")[2]
    return tree | links_to(
        {
            f"{home}/driver": driver,
            f"{home}/subsystem": bus,
            f"{bus}/devices/{name}": home,
            f"{driver}/{name}": home,
            f"{driver}/module": module,
            f"{module}/drivers/{provider.bus}:{provider.driver}": driver,
        }
    )


# -- a device -----------------------------------------------------------------------------------


def _device_directories(device: DevDax) -> Directories:
    home = device_path(device)
    yield Directory(home, DEVICE_ATTRIBUTES, device, device.region)
    yield power_directory(home, device.power, device)
    for mapping in device.mappings():
        home = f"sys{mapping.kobject().devpath}"
        yield Directory(home, MAPPING_ATTRIBUTES, mapping, device.region)
        yield power_directory(home, mapping.range.power, device)


def device_tree(device: DevDax) -> Tree:
    """A device's directory, and the links to it."""
    home = device_path(device)
    links = {
        f"{home}/subsystem": _BUS,
        f"{_BUS}/devices/{device.name}": home,
        f"sys/dev/char/{device.devt}": home,
    }
    if device.driver is not None:
        links[f"{home}/driver"] = f"{_BUS}/drivers/{device.driver.name}"
        links[f"{_BUS}/drivers/{device.driver.name}/{device.name}"] = home
    return files_in(_device_directories(device)) | links_to(links)


# -- stores -------------------------------------------------------------------------------------


def _directories(core: DaxCore, path: str) -> Directories:
    """All that may have this path: for a device in it, those of that device alone."""
    for part in path.split("/"):
        if part in core.bus.devices:
            yield from _device_directories(core.bus.devices[part])
    yield from _bus_directories(core.bus)
    if path.startswith(("sys/devices/system/", "sys/bus/")):
        from daxemu.sysfs.memory import memory_directories  # few programs touch memory

        yield from memory_directories(core.memory, path)
    for region in core.regions.values():
        yield from _region_directories(region)
    if core.nvdimm is not None:
        yield from nvdimm_directories(core.nvdimm, path)


def find_store(core: DaxCore, path: str) -> Store:
    """Return what to call with the text written to the attribute at this path below /.

    ENODEV: the object is gone, or was never there. EACCES: the attribute cannot be written.
    """
    home, _, name = path.rpartition("/")
    for directory in _directories(core, path):
        if directory.path == home:
            return directory.store(name)
    raise KernelError(errno.ENODEV, f"/{path}: the object is gone")
