"""The drivers of the dax bus."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from daxemu.errors import KernelError
from daxemu.kernel.kmsg import KERN_ERR, KERN_INFO, KERN_WARNING
from daxemu.kernel.memory import MEMORY_BLOCK_SIZE, MemoryBlock
from daxemu.kernel.ports import Event
from daxemu.kernel.ranges import PAGE_SIZE
from daxemu.kernel.region import SUBSECTION_SIZE
from daxemu.kernel.uevent import Kobject

if TYPE_CHECKING:
    from daxemu.kernel.bus import DaxBus
    from daxemu.kernel.device import DevDax

__all__ = ["DRIVERS", "DeviceDax", "Driver", "Kmem"]

_SUBSECTION_PAGES = SUBSECTION_SIZE // PAGE_SIZE


class Driver:
    """A driver on the dax bus. Names are the kernel modules' names.

    ``ids``: names of devices that it takes whatever their type (``new_id``). ``maps``: programs can map its devices.
    """

    name: str
    maps = False

    def __init__(self, bus: DaxBus) -> None:
        self.bus = bus
        self.core = bus.core
        self.ids: set[str] = set()

    def kobject(self) -> Kobject:
        """The driver itself."""
        return Kobject(f"/bus/{self.bus.name}/drivers/{self.name}", "drivers", {})

    def probe(self, device: DevDax) -> None:
        """Take a device over; raising leaves it unbound."""
        raise NotImplementedError

    def remove(self, device: DevDax) -> None:
        """Let a device go."""
        raise NotImplementedError

    def blocks(self, device: DevDax) -> list[MemoryBlock]:  # noqa: ARG002
        """The memory blocks that it has made of a device, by address."""
        return []

    def undo_probe(self, device: DevDax) -> None:
        """Take back what probe has done, when the device cannot be bound after all."""
        self.remove(device)


class _Span(NamedTuple):
    """The memory blocks in one of a device's ranges: its number, the first byte and the last."""

    number: int
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end + 1 - self.start

    def __str__(self) -> str:
        return f"mapping{self.number}: {self.start:#x}-{self.end:#x}"


class DeviceDax(Driver):
    """device_dax: the character device that programs map."""

    name = "device_dax"
    maps = True

    def probe(self, device: DevDax) -> None:
        """Give the memory pages, then register the character device.

        EBUSY: a range is in use. EINVAL: a static device of several ranges; a dynamic one with a range
        that begins or ends inside a sub-section of 2 MiB, or that was refused before: it never will
        be taken again (a defect of the kernel's: the page map of the first time is still there).
        """
        if device.region.is_static:
            if len(device.ranges) > 1:
                self._refuse(device, errno.EINVAL, "static pgmap / multi-range device conflict")
        elif device.pgmap:
            self._refuse(device, errno.EINVAL, "dynamic-dax with pre-populated page map")
        device.pgmap = True
        for number, piece in enumerate(device.ranges):
            if device.core.is_reserved(piece.start, piece.end):
                where = f"mapping{number}: {piece.start:#x}-{piece.end:#x}"
                self._refuse(device, errno.EBUSY, f"{where} could not reserve range")
        for piece in () if device.region.is_static else device.ranges:
            first = piece.start // PAGE_SIZE
            if first % _SUBSECTION_PAGES or piece.pages % _SUBSECTION_PAGES:
                text = f"Misaligned __add_pages start: {first:#x} end: {first + piece.pages - 1:#x}"
                device.core.log(KERN_WARNING, text)
                raise KernelError(errno.EINVAL, f"{device.name}: {piece!r} begins or ends inside a sub-section")
        try:
            device.core.chrdevs.add(device.devt, device)
        except BaseException:
            device.pgmap = False
            raise

    @staticmethod
    def _refuse(device: DevDax, number: int, reason: str) -> NoReturn:
        device.log(KERN_WARNING, reason)
        raise KernelError(number, f"{device.name}: {reason}")

    def remove(self, device: DevDax) -> None:
        """Revoke everything, then unregister; nodes forget the device."""
        try:
            device.kill()
        finally:
            device.pgmap = False
            device.core.chrdevs.remove(device.devt)
            for node in device.openers:
                node.cd_forget()
            device.openers.clear()


class Kmem(Driver):
    """kmem: the device becomes ordinary memory; programs can no longer open it."""

    name = "kmem"

    def __init__(self, bus: DaxBus) -> None:
        super().__init__(bus)
        self._added: dict[DevDax, list[_Span]] = {}

    def probe(self, device: DevDax) -> None:
        """Add every range, trimmed to whole memory blocks, to the device's NUMA node.

        EINVAL: there is no such node, or no range holds a whole block. EBUSY: the first of those
        that do is still in use as memory; a later one in use is left out.
        """
        node = device.region.target_node
        if node < 0:
            device.log(KERN_WARNING, f"rejecting DAX region with invalid node: {node}")
            raise KernelError(errno.EINVAL, f"{device.name} has no NUMA node that its memory could be added to")
        spans = self._whole_blocks(device)
        if not spans:
            device.log(KERN_WARNING, "rejecting DAX region without any memory after alignment")
            raise KernelError(errno.EINVAL, f"{device.name} holds no whole memory block of {MEMORY_BLOCK_SIZE} bytes")
        with ExitStack() as undo:
            added: list[_Span] = []
            for span in spans:
                if self._reserve(device, span, first=not added):
                    undo.callback(self.core.memory.release, span.start, span.end)
                    self.core.memory.add(node, span.start, span.size)
                    undo.callback(self.core.memory.remove, span.start, span.size, force=True)
                    added.append(span)
            undo.pop_all()
        self._added[device] = added

    def blocks(self, device: DevDax) -> list[MemoryBlock]:
        """The memory blocks that a device has become, by address."""
        blocks = self.core.memory.blocks
        return [
            blocks[address // MEMORY_BLOCK_SIZE]
            for span in sorted(self._added[device], key=lambda span: span.start)
            for address in range(span.start, span.end, MEMORY_BLOCK_SIZE)
        ]

    def _whole_blocks(self, device: DevDax) -> list[_Span]:
        """The memory blocks in each of the device's ranges that holds any."""
        spans = []
        for number, piece in enumerate(device.ranges):
            start = -(-piece.start // MEMORY_BLOCK_SIZE) * MEMORY_BLOCK_SIZE
            end = (piece.end + 1) // MEMORY_BLOCK_SIZE * MEMORY_BLOCK_SIZE - 1
            if start < end:
                spans.append(_Span(number, start, end))
            else:
                text = f"mapping{number}: {piece.start:#x}-{piece.end:#x} too small after alignment"
                device.log(KERN_INFO, text)
        return spans

    def _reserve(self, device: DevDax, span: _Span, *, first: bool) -> bool:
        try:
            self.core.memory.reserve(span.start, span.end)
        except KernelError:
            device.log(KERN_WARNING, f"{span} could not reserve region")
            if first:
                raise
            return False
        return True

    def remove(self, device: DevDax) -> None:
        """Take the memory away again. A range of which a block is online stays memory for ever, all of it."""
        self._take_away(device, force=False)

    def undo_probe(self, device: DevDax) -> None:
        """Take all of it away, as if it had never come up; who was told that it has is told again."""
        try:
            self._take_away(device, force=True)
        finally:
            self.core.publish(Event("unbind", device))

    def _take_away(self, device: DevDax, *, force: bool) -> None:
        with ExitStack() as steps:
            for span in reversed(self._added.pop(device)):
                steps.callback(self._take_span_away, device, span, force=force)

    def _take_span_away(self, device: DevDax, span: _Span, *, force: bool) -> None:
        with ExitStack() as steps:
            steps.callback(self.core.memory.release, span.start, span.end)
            try:
                self.core.memory.remove(span.start, span.size, force=force)
            except KernelError:
                device.log(KERN_ERR, f"{span} cannot be hotremoved until the next reboot")
                steps.pop_all()


DRIVERS: dict[str, type[Driver]] = {driver.name: driver for driver in (DeviceDax, Kmem)}
