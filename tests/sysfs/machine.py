"""A machine whose attributes are written."""

from __future__ import annotations

import errno

from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.flavour import FLAVOURS
from daxemu.kernel.providers import find_provider
from daxemu.kernel.region import DaxRegion
from daxemu.sysfs.directory import File
from daxemu.sysfs.tree import bus_tree, device_tree, find_store, region_tree
from tests.kernel.fakes import BLOCK, REGION_START, FakePorts, errno_of

BLOCKS = 16
TOO_LARGE = "99999999999999999999999"
NAMES = errno.errorcode | {errno.EOPNOTSUPP: "EOPNOTSUPP"}
DRIVERS = "sys/bus/dax/drivers"


class Machine:
    """A core with one region, and what a program does with its attributes."""

    def __init__(self, flavour: str = "6.12", provider: str = "hmem", **options) -> None:
        options = {"start": REGION_START, "size": BLOCKS * BLOCK, "align": BLOCK} | options
        drivers = options.pop("drivers", ("device_dax", "kmem"))
        self.core = DaxCore(FakePorts(), flavour=FLAVOURS[flavour], drivers=drivers)
        self.core.boot()
        idle = find_provider(provider).static is False and "driver" not in options
        self.region: DaxRegion = self.core.add_region(find_provider(provider), idle=idle, **options)

    def path(self, attribute: str) -> str:
        """Path of ``dax0.1/size``, ``create``, ``device_dax/bind``, ``drivers_probe``."""
        owner, _, name = attribute.partition("/")
        if owner.startswith("dax0."):
            return f"sys/{self.region.sysfs_parent}/{attribute}"
        if name:
            return f"{DRIVERS}/{attribute}"
        on_bus = owner.startswith("drivers_")
        return f"sys/bus/dax/{owner}" if on_bus else f"sys/{self.region.sysfs_parent}/dax_region/{owner}"

    def write(self, attribute: str, text: str) -> str:
        """Name of the errno; "ok" without one."""
        error = errno_of(lambda: find_store(self.core, self.path(attribute))(text))
        return NAMES[error] if error else "ok"

    def read(self, attribute: str) -> str | None:
        """Text of the file, its newline left out; None without such a file."""
        tree = bus_tree(self.core.bus) | region_tree(self.region)
        for device in self.region.children.values():
            tree |= device_tree(device)
        file = tree.get(self.path(attribute))
        return file.text.removesuffix("\n") if isinstance(file, File) else None

    def device(self, name: str) -> DevDax:
        return self.region.children[name]

    def create(self, size: int = 0, *, bound: bool = False) -> DevDax:
        return self.core.create_device(self.region, size, driver="device_dax" if bound else "none")
