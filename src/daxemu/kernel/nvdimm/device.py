"""What all objects on the nvdimm bus have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from daxemu.kernel.power import PowerSettings
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.ids import Devt
    from daxemu.kernel.nvdimm.bus import NvdimmBus
    from daxemu.kernel.nvdimm.drivers import NdDriver
    from daxemu.kernel.nvdimm.region import NdRegion

__all__ = ["NdDevice", "NdRegionChild"]


class NdDevice:
    """A device on bus ``nd``: dimm, region, namespace, or what may claim a namespace.

    ``devtype`` is its type's name, ``type_number`` what drivers match it by.
    """

    devtype: ClassVar[str]
    type_number: ClassVar[int]
    devt: Devt | None = None

    def __init__(self, bus: NvdimmBus, name: str) -> None:
        self.bus = bus
        self.name = name
        self.driver: NdDriver | None = None
        self.power = PowerSettings()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def home(self) -> str:
        """Its path below /sys."""
        raise NotImplementedError

    @property
    def core(self) -> DaxCore:
        """The subsystem."""
        return self.bus.core

    def kobject(self) -> Kobject:
        """What uevents say of it."""
        variables = {}
        if self.devt is not None:
            variables = {"MAJOR": str(self.devt.major), "MINOR": str(self.devt.minor), "DEVNAME": self.name}
        variables["DEVTYPE"] = self.devtype
        if self.driver is not None:
            variables["DRIVER"] = self.driver.name
        variables["MODALIAS"] = self.modalias
        return Kobject(f"/{self.home}", "nd", variables, f"{self.driver.name if self.driver else 'nd'} {self.name}")

    def changed(self) -> None:
        """Tell the outside that something about it is different."""
        self.bus.changed(self)

    @property
    def modalias(self) -> str:
        """By which a driver is found."""
        return f"nd:t{self.type_number}"


class NdRegionChild(NdDevice):
    """What hangs on a region: its namespace, and what may claim that."""

    region: NdRegion

    @property
    def home(self) -> str:
        """Its path below /sys."""
        return f"{self.region.home}/{self.name}"

    @property
    def target_node(self) -> int:
        """The region's."""
        return self.region.target_node

    @property
    def numa_node(self) -> int:
        """The region's."""
        return self.region.numa_node
