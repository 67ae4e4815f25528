"""The block device over a raw namespace, as far as tools that keep info blocks need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.ids import Devt
    from daxemu.kernel.nvdimm.namespace import Namespace

__all__ = ["Disk"]


class Disk:
    """``pmem<region>``; ``sequence`` counts all that there ever were."""

    def __init__(self, namespace: Namespace, devt: Devt, sequence: int) -> None:
        self.namespace = namespace
        self.name = f"pmem{namespace.region.id}"
        self.devt = devt
        self.sequence = sequence

    @property
    def core(self) -> DaxCore:
        """The subsystem."""
        return self.namespace.core

    @property
    def home(self) -> str:
        """Its path below /sys."""
        return f"{self.namespace.home}/block/{self.name}"

    def kobject(self) -> Kobject:
        """What uevents say of it."""
        return Kobject(
            f"/{self.home}",
            "block",
            {
                "MAJOR": str(self.devt.major),
                "MINOR": str(self.devt.minor),
                "DEVNAME": self.name,
                "DEVTYPE": "disk",
                "DISKSEQ": str(self.sequence),
            },
            None,
        )
