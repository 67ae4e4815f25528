"""DaxFile: an open dax device in this interpreter."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from daxemu.backing import BackingFile
from daxemu.errors import KernelError, UsageError
from daxemu.kernel.kmsg import mmap_refused
from daxemu.mapping import DaxMapping
from daxemu.units import parse_size

if TYPE_CHECKING:
    from daxemu.engine import Engine
    from daxemu.kernel.device import DevDax

__all__ = ["DaxFile"]

_FLAGS = {"r": os.O_RDONLY, "r+": os.O_RDWR}


class DaxFile:
    """An open file description of a device. A context manager; closing it leaves its mappings be."""

    def __init__(self, engine: Engine, device: DevDax, mode: str) -> None:
        if mode not in _FLAGS:
            raise UsageError(f"mode {mode!r}: open a device with 'r' or 'r+'")
        self._engine = engine
        self._device = device
        self._description = engine._open(device, write=mode == "r+")
        assert isinstance(device.backing, BackingFile)
        try:
            self._fd = os.open(f"/proc/self/fd/{device.backing.fd}", _FLAGS[mode] | os.O_CLOEXEC)
        except BaseException:
            self._description.release()
            raise
        self.writable = mode == "r+"
        self._mapped = False
        engine._wiring.files.add(self)

    def __enter__(self) -> DaxFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _maps(self, device: DevDax) -> bool:
        """Has a mapping of this device been made through this file?"""
        return self._mapped and device is self._device

    def fileno(self) -> int:
        """The descriptor. Programs that it is handed to and that see the session know it as the device."""
        if self._fd < 0:
            raise ValueError("the file is closed")
        return self._fd

    def _mapped_fd(self) -> int:
        """The descriptor to map by: to be revoked in place, a mapping is made by one for reading and writing."""
        fd = self.fileno()
        assert isinstance(self._device.backing, BackingFile)
        return fd if self.writable else self._device.backing.fd

    def mmap(
        self, length: int | str | None = None, *, offset: int | str = 0, writable: bool | None = None
    ) -> DaxMapping:
        """Map ``length`` bytes from ``offset``, both by default the whole device, for all to share.

        ENXIO: the device is dead. EINVAL: offset or length not a multiple of the alignment.
        EACCES: writable, on a file opened with ``r``. As on hardware, mapping past the end
        succeeds, and touching that raises SIGBUS.
        """
        start = parse_size(offset)
        size = max(self._device.size - start, 0) if length is None else parse_size(length)
        write = self.writable and not self._device.read_only if writable is None else writable
        if write and not self.writable:
            raise KernelError(errno.EACCES, f"{self._device.name} is open for reading only")
        if write and self._device.read_only:
            raise KernelError(errno.EACCES, f"{self._device.name} is read-only")
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        with self._engine._operation():
            self._mapped = True
            try:
                mapping = DaxMapping(self._mapped_fd(), size, start, prot, self._device.alive, self._device.align)
            except OSError as error:
                self._log_refusal(error)
                raise KernelError(
                    error.errno or errno.EINVAL,
                    f"mmap of {size} bytes at {start} of {self._device.name} (size {self._device.size}, alignment "
                    f"{self._device.align}{'' if self._device.alive else ', dead'})",
                ) from None
            mapping._belongs_to(self._engine, self._device, start)
            if self._device.has_faults:
                self._engine._wiring.show_poison(self._device)
            return mapping

    def _log_refusal(self, error: OSError) -> None:
        """Log what the kernel would; not all refusals are worth it."""
        start, end = getattr(error, "refused", (0, 0))
        if end:
            comm = Path("/proc/self/comm").read_text().removesuffix("\n")
            mmap_refused(self._device, comm, shared=True, start=start, end=end)

    def close(self) -> None:
        """Close the file; mappings stay."""
        if self._fd < 0:
            return
        with self._engine._lock:
            os.close(self._fd)
            self._fd = -1
            if not self._mapped:
                self._engine._wiring.files.discard(self)
            self._description.release()
