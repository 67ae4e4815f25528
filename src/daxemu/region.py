"""DaxRegion: a range of emulated memory and the devices in it, as tests handle it."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from daxemu.device import DaxDevice
from daxemu.errors import KernelError, UsageError
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.ports import Event
from daxemu.kernel.providers.pmem import PMEM
from daxemu.kernel.region import SUBSECTION_SIZE
from daxemu.kernel.region import DaxRegion as KernelRegion
from daxemu.launch.start import Launcher
from daxemu.units import format_size, parse_size

if TYPE_CHECKING:
    from daxemu.engine import Engine
    from daxemu.kernel.core import DaxCore
    from daxemu.kernel.device import DevDax

    Plug = partial[KernelRegion] | partial[NdRegion]

__all__ = ["DaxRegion"]


class DaxRegion(Launcher):
    """A range of emulated physical memory and the devices in it. Made by ``Engine.add_region``."""

    def __init__(self, engine: Engine, region: KernelRegion | NdRegion) -> None:
        self._engine = engine
        self._hardware = region
        self._last = region if isinstance(region, KernelRegion) else region.dax_region()
        self._facades: dict[DevDax, DaxDevice] = {}
        self._plug: Plug | None = None  # makes it again
        self._backend = ""
        self._unplugged = False

    def __repr__(self) -> str:
        return f"<DaxRegion {self.id} {self.provider} {format_size(self.size)}>"

    def _catch_up(self) -> KernelRegion | None:
        """Return the kernel's dax region as it is now, with the devices that have come back in it adopted.

        An NVDIMM has a new one each time that its namespace becomes a device.
        """
        now = self._hardware.dax_region() if isinstance(self._hardware, NdRegion) else self._hardware
        if now is not None and now is not self._last:
            before, self._last = self._last, now
            self._adopt(now, before)
        return self._last

    @property
    def _is_static(self) -> bool:
        return isinstance(self._hardware, NdRegion) or self._hardware.is_static

    def _adopt(self, region: KernelRegion, before: KernelRegion | None) -> None:
        """The devices have come back as other objects of the model."""
        known = {facade.name: facade for device, facade in self._facades.items() if device.region is before}
        self._facades = {}
        for device in region.children.values():
            if device.name in known:
                known[device.name]._replace(device)

    @property
    def engine(self) -> Engine:
        """The engine it belongs to."""
        return self._engine

    @property
    def id(self) -> int:
        """X of its devices' names daxX.Y."""
        return self._hardware.id

    @property
    def provider(self) -> str:
        """``pmem`` or ``hmem``."""
        return PMEM.name if isinstance(self._hardware, NdRegion) else self._hardware.provider.name

    @property
    def size(self) -> int:
        """Bytes, of a namespace that has always been raw all of it."""
        return (self._catch_up() or self._hardware).size

    @property
    def align(self) -> int:
        """Bytes: the alignment that its devices start with."""
        region = self._catch_up()
        return region.align if region is not None else SUBSECTION_SIZE

    @property
    def available_size(self) -> int:
        """Bytes that no device owns."""
        return 0 if isinstance(self._hardware, NdRegion) else self._hardware.available_size()

    @property
    def unsafe_shutdowns(self) -> int:
        """How often the NVDIMM has lost power before all that was on its way had arrived. Can be set.

        PMDK refuses a pool that was open while this rose: the pool may be damaged. UsageError: only
        regions of provider ``pmem`` are on an NVDIMM; at least 0.
        """
        return self._hardware.dimm.dirty_shutdowns if isinstance(self._hardware, NdRegion) else 0

    @unsafe_shutdowns.setter
    def unsafe_shutdowns(self, count: int) -> None:
        with self._engine._operation():
            if not isinstance(self._hardware, NdRegion):
                raise UsageError(f"region {self.id} is on no NVDIMM (provider {self.provider!r})")
            if count < 0:
                raise UsageError(f"{count} unsafe shutdowns: there are at least 0")
            self._hardware.dimm.dirty_shutdowns = count
            self._hardware.changed()

    @property
    def unplugged(self) -> bool:
        """True from ``unplug`` until ``replug``."""
        return self._unplugged

    @property
    def devices(self) -> list[DaxDevice]:
        """Its devices that have a size, by id."""
        return [self._facade(device) for device in self._children() if device.size]

    def _children(self) -> list[DevDax]:
        region = self._catch_up()
        return list(region.children.values()) if region is not None else []

    def _facade(self, device: DevDax) -> DaxDevice:
        if self._catch_up() is device.region and device in self._facades:
            return self._facades[device]
        return self._facades.setdefault(device, DaxDevice(self, device))

    def create_device(self, size: int | str | None = None) -> DaxDevice:
        """Make a device, ready to use; by default of all that is available.

        The region's first device, daxX.0, exists from the start and is taken while it is empty.
        EINVAL: not a multiple of max(align, 2 MiB), or 0, or a static region. ENOSPC: no room, or no
        device number left.
        """
        with self._engine._operation() as core:
            if isinstance(self._hardware, NdRegion) or self._hardware.is_static:
                raise KernelError(
                    errno.EINVAL,
                    f"region {self.id} is static (provider {self.provider!r}): it has its one device in "
                    "region.devices; use provider 'hmem' to create devices",
                )
            wanted = self.available_size if size is None else parse_size(size)
            if wanted == 0:
                reason = "has no space left" if size is None else "cannot make a device of size 0"
                raise KernelError(errno.ENOSPC if size is None else errno.EINVAL, f"region {self.id} {reason}")
            first = next((d for d in self._hardware.children.values() if d.id == 0), None)
            if first is not None and first.size == 0 and first.driver is None:
                self._engine._resize(first, wanted)
                return self._facade(first)
            return self._facade(core.create_device(self._hardware, wanted))

    def unplug(self) -> None:
        """Take the hardware away without a warning; ``replug`` brings it back.

        Every mapping is revoked, devices, nodes and attributes vanish, open files answer as those of a
        dead device. The bytes stay in the hardware. ENODEV: the region is gone already.
        """
        with self._engine._operation() as core:
            if self._plug is None or not self._hardware.published:
                raise KernelError(errno.ENODEV, f"region {self.id} is not there to be unplugged")
            self._engine._wiring.memories[self._hardware.start].unplugged = True
            self._unplugged = True
            self._take_away(core)

    def replug(self) -> None:
        """Bring an unplugged region back, at the same addresses, with the bytes it had.

        Devices come as at boot: one over all of the region, or none if it was added empty. Files and
        mappings from before stay dead, as they belong to a device that is gone. EBUSY: it is plugged in.
        """
        with self._engine._operation() as core:
            if not self._unplugged or self._plug is None:
                raise KernelError(errno.EBUSY, f"region {self.id} is not unplugged")
            before = self._hardware
            self._hardware = self._plug()
            self._unplugged = False
            self._engine._wiring.memories[self._hardware.start].unplugged = False
            self._engine._replace(before, self)
            self._hardware.badblocks.parts = before.badblocks.parts
            if isinstance(self._hardware, NdRegion) and isinstance(before, NdRegion):
                self._hardware.dimm.dirty_shutdowns = before.dimm.dirty_shutdowns
                self._hardware.changed()
            for device in self._children():
                if device.poison:
                    core.publish(Event("poison", device))

    def remove(self) -> None:
        """Remove the region with its devices, as when the hardware is taken away."""
        with self._engine._operation() as core:
            if self._hardware.published:
                self._engine._wiring.abandon(self._hardware)
            self._take_away(core)

    def _take_away(self, core: DaxCore) -> None:
        if isinstance(self._hardware, NdRegion):
            self._hardware.bus.remove_region(self._hardware)
        else:
            core.remove_region(self._hardware)
