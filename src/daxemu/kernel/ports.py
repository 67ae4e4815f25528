"""What the model needs from outside, so that it can stay pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from daxemu.kernel.device import DevDax
    from daxemu.kernel.memory import BootNodes, Memory, MemoryBlock
    from daxemu.kernel.nvdimm.region import NdRegion
    from daxemu.kernel.region import DaxRegion
    from daxemu.kernel.uevent import Uevent

__all__ = ["Action", "Backing", "Event", "Ports", "RawMemory"]

Action = Literal["add", "remove", "change", "bind", "unbind", "resize", "kill", "revive", "poison"]


class Event(NamedTuple):
    """Something happened to a region, a device, memory or an NVDIMM. Projections, hooks and traces are made from it.

    ``broken`` is the part [start, end) of a device whose memory has just been found broken.
    """

    action: Action
    subject: DaxRegion | DevDax | MemoryBlock | Memory | NdRegion
    broken: tuple[int, int] | None = None


class Backing(Protocol):
    """The memory behind one device."""

    def resize(self, size: int) -> None:
        """Change the size in bytes; what lies past the new end is dropped from every mapping."""

    def close(self) -> None:
        """Give the memory back."""


class RawMemory(Protocol):
    """The memory of a region of an NVDIMM, as far as no dax device has it."""

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``; what was never written is zero."""

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes from ``offset`` on."""


class Ports(Protocol):
    """The way out of the model.

    ``create_backing`` and ``publish`` may raise. What was being made or changed is then undone, and
    those who had been told otherwise are told again; what was being taken down is taken down all
    the same. ``uevent`` and ``log`` must not.
    """

    def create_backing(self, device: DevDax) -> Backing:
        """Make memory of ``device.size`` bytes for a device."""

    def create_memory(self, region: NdRegion) -> RawMemory:
        """The memory of a region of an NVDIMM; the backings of devices made of it are parts of it."""

    def publish(self, event: Event) -> None:
        """Tell everyone else. Called when the model already shows the new state."""

    def boot_nodes(self) -> BootNodes:
        """Which NUMA nodes the machine has without the memory that is emulated."""

    def uevent(self, event: Uevent) -> None:
        """Send user space what udev would receive."""

    def log(self, level: int, text: str) -> None:
        """Add a line to the kernel's log; levels are syslog's, 3 an error, 4 a warning, 6 information."""
