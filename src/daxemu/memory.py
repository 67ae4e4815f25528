"""DaxMemory: a device as ordinary memory, as tests handle it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daxemu.kernel.memory import MOVABLE

if TYPE_CHECKING:
    from daxemu.device import DaxDevice
    from daxemu.kernel.memory import MemoryBlock

__all__ = ["DaxMemory"]


class DaxMemory:
    """The memory blocks of a device that is bound to kmem (libdaxctl's ``daxctl_memory``). See ``DaxDevice.memory``."""

    def __init__(self, device: DaxDevice) -> None:
        self._device = device

    def __repr__(self) -> str:
        return f"<DaxMemory of {self._device.name} {self.online_blocks}/{len(self.blocks)} online>"

    def _blocks(self) -> list[MemoryBlock]:
        device = self._device._device
        return device.driver.blocks(device) if device.driver else []

    @property
    def node(self) -> int:
        """The NUMA node that the memory belongs to."""
        return self._device._device.region.target_node

    @property
    def blocks(self) -> list[str]:
        """Names of its memory blocks, ``memoryN``, by address; empty once kmem has let the device go."""
        return [block.name for block in self._blocks()]

    @property
    def online_blocks(self) -> int:
        """How many of them are online."""
        return sum(block.zone is not None for block in self._blocks())

    @property
    def is_movable(self) -> bool:
        """Is some of it online, and all that is online in zone Movable, so that it can go offline again?"""
        return {block.zone for block in self._blocks()} - {None} == {MOVABLE}

    def online(self, *, movable: bool = True) -> int:
        """Bring every block online, in zone Movable or in Normal; return how many were offline."""
        with self._device.engine._operation() as core:
            how = "online_movable" if movable else "online_kernel"
            return sum(core.memory.online(block, how) for block in self._blocks())

    def offline(self) -> int:
        """Take every block offline, so that the device can be had back; return how many were online."""
        with self._device.engine._operation() as core:
            return sum(core.memory.offline(block) for block in self._blocks())
