"""open, mmap, fault and release on a dax device, as the model sees them."""

from __future__ import annotations

import errno

from daxemu._core import check_vma
from daxemu.errors import KernelError
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.pseudofs import S_DAX, AddressSpace, NodeInode
from daxemu.kernel.ranges import PAGE_SIZE

__all__ = ["BusError", "File", "Vma", "dax_open"]


class BusError(Exception):
    """A fault that the kernel answers with SIGBUS; ``address`` is si_addr.

    ``lsb`` is si_addr_lsb of a machine check (BUS_MCEERR_AR); without one (BUS_ADRERR) it is None.
    """

    def __init__(self, address: int, lsb: int | None = None) -> None:
        super().__init__(f"SIGBUS at {address:#x}")
        self.address = address
        self.lsb = lsb


class File:
    """An open file description: ``f_mapping`` is the device's one address space."""

    def __init__(self, inode: NodeInode, f_mapping: AddressSpace, private_data: DevDax) -> None:
        self.inode = inode
        self.f_mapping = f_mapping
        self.private_data = private_data
        self.vmas: list[Vma] = []

    def mmap(self, start: int, length: int, *, pgoff: int = 0, shared: bool = True) -> Vma:
        """Map ``length`` bytes at address ``start``, beginning at page ``pgoff`` of the device.

        ENXIO: the device is dead. EINVAL: of no length, private, or an end not a multiple of the alignment.
        """
        if length <= 0:
            raise KernelError(errno.EINVAL, f"a mapping of {length} bytes")
        vma = Vma(self, start, length, pgoff, shared)
        vma.check()
        self.f_mapping.i_mmap.append(vma)
        self.vmas.append(vma)
        return vma

    def release(self) -> None:
        """Close: mappings go, then the reference to the device."""
        for vma in list(self.vmas):
            vma.munmap()
        self.private_data.put()


class Vma:
    """One mapping; ``pages`` holds what has been faulted in: block address → physical address."""

    def __init__(self, file: File, start: int, length: int, pgoff: int, shared: bool) -> None:
        self.file = file
        self.start = start
        self.length = length
        self.pgoff = pgoff
        self.shared = shared
        self.pages: dict[int, int] = {}

    def check(self) -> None:
        """Raise what check_vma refuses this mapping with, at mmap time and at every fault."""
        device = self.file.private_data
        status = check_vma(device.alive, self.shared, self.start, self.start + self.length, device.align)
        if status:
            raise KernelError(-status, f"{device.name} refuses the mapping")

    def touch(self, address: int) -> int:
        """Load or store one byte; return its physical address. Raises BusError for SIGBUS.

        Exactly one fault size ever succeeds, the device's alignment; memory that is broken anywhere
        in such a block is lost as a whole.
        """
        align = self.file.private_data.align
        block = address - address % align
        phys = self.pages.get(block)
        if phys is None:
            phys = self._fault(block, address)
        if any(start < phys + align and end > phys for start, end in self.file.private_data.region.badblocks.parts):
            raise BusError(block, align.bit_length() - 1)
        return phys + address - block

    def _fault(self, block: int, address: int) -> int:
        """Map one block: it must lie whole in the mapping and in one range.

        A device offset that is no multiple of the alignment is served from the aligned block below
        it. Whoever kills the device meanwhile drops the page, or is noticed here.
        """
        device = self.file.private_data
        try:
            self.check()
        except KernelError:
            raise BusError(address) from None
        inside = self.start <= block and block + device.align <= self.start + self.length
        page = self.pgoff + (block - self.start) // PAGE_SIZE
        aligned = page - page % (device.align // PAGE_SIZE)
        phys = device.pgoff_to_phys(aligned, device.align)
        if not inside or phys is None or device.pgoff_to_phys(page, device.align) is None:
            raise BusError(address)
        self.pages[block] = phys
        if not device.alive:
            self.pages.pop(block, None)
            raise BusError(address)
        return phys

    def unmap(self, first: int, last: int) -> None:
        """Drop the pages of device bytes [first, last]."""
        origin = self.pgoff * PAGE_SIZE - self.start
        align = self.file.private_data.align
        self.pages = {
            block: phys
            for block, phys in self.pages.items()
            if block + origin > last or block + origin + align <= first
        }

    def munmap(self) -> None:
        """Take the mapping away."""
        self.file.f_mapping.i_mmap.remove(self)
        self.file.vmas.remove(self)


def dax_open(core: DaxCore, node: NodeInode, *, write: bool = False) -> File:
    """Open a device through any node that carries its number.

    Points the opener's inode and file at the device's one address space, and adds S_DAX to the
    inode's flags. ENXIO: no such device, no driver, or a dead device. EROFS: for writing, and read-only.
    """
    device = core.chrdevs.lookup(node.i_rdev)
    assert isinstance(device, DevDax)
    if not device.alive:
        raise KernelError(errno.ENXIO, f"{device.name} is dead")
    if write and device.read_only:
        raise KernelError(errno.EROFS, f"{device.name} is read-only")
    node.i_mapping = device.inode.i_mapping
    node.i_mapping.host = device.inode
    node.i_flags |= S_DAX
    if node not in device.openers:
        device.openers.append(node)
    device.get()
    return File(node, node.i_mapping, device)
