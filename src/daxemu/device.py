"""DaxDevice: one emulated device, as tests handle it."""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from daxemu.backing import BackingFile
from daxemu.errors import KernelError, UsageError
from daxemu.launch.start import Launcher
from daxemu.plugins import call_hook
from daxemu.units import format_size, parse_size

if TYPE_CHECKING:
    from daxemu.engine import Engine
    from daxemu.file import DaxFile
    from daxemu.kernel.device import DevDax
    from daxemu.kernel.hotplug import Absent
    from daxemu.memory import DaxMemory
    from daxemu.pmem.points import Scan
    from daxemu.pmem.recorder import Recorder
    from daxemu.region import DaxRegion
    from daxemu.snapshot import DaxSnapshot

__all__ = ["DaxDevice"]


class DaxDevice(Launcher):
    """An emulated dax device. Made by ``DaxRegion.create_device``, or with its static region."""

    def __init__(self, region: DaxRegion, device: DevDax) -> None:
        self.region = region
        self._device = device
        self._absent: Absent | None = None

    def __repr__(self) -> str:
        return f"<DaxDevice {self.name} {format_size(self.size)}>"

    def __fspath__(self) -> str:
        return self.path

    @property
    def engine(self) -> Engine:
        """The engine it belongs to."""
        return self.region.engine

    @property
    def name(self) -> str:
        """``daxX.Y``."""
        return self._device.name

    @property
    def path(self) -> str:
        """Where programs find it: ``/dev/daxX.Y``."""
        return f"/dev/{self.name}"

    @property
    def size(self) -> int:
        """Bytes."""
        return self._device.size

    @property
    def align(self) -> int:
        """Bytes: the unit of mappings."""
        return self._device.align

    @property
    def devt(self) -> tuple[int, int]:
        """Device number: (major, minor)."""
        return self._device.devt

    @property
    def alive(self) -> bool:
        """False after ``kill`` until ``revive``, and once it is destroyed."""
        return self._device.alive

    @property
    def _backing(self) -> BackingFile:
        assert isinstance(self._device.backing, BackingFile)
        return self._device.backing

    @property
    def unplugged(self) -> bool:
        """True from ``unplug`` until ``replug``, also when its region is unplugged."""
        return self._absent is not None or self.region.unplugged

    @property
    def read_only(self) -> bool:
        """Whether it can be opened for reading alone; may be set.

        Then opens for writing answer EROFS, as those of a write-protected disk, and mappings for
        writing EACCES, also by files opened before; a mapping that was there can still be written to.
        Device-dax itself knows no such state: the kernel lets programs map and write a device
        whose region is read-only.
        """
        return self._device.read_only

    @read_only.setter
    def read_only(self, value: bool) -> None:
        with self.engine._operation():
            self._device.set_read_only(value)

    def open(self, mode: str = "r+") -> DaxFile:
        """Open the device: ``r`` for reading, ``r+`` for both. ENXIO: it is dead. EROFS: it is read-only."""
        from daxemu.file import DaxFile

        return DaxFile(self.engine, self._device, mode)

    def resize(self, size: int | str) -> None:
        """Change the size; bytes, or a text such as ``"64M"``.

        As an administrator would: take the device from its driver, write ``size``, give it back.
        Every mapping is revoked; what lies inside the new size works again afterwards, what lies
        past it raises SIGBUS. EACCES: a static region. EINVAL: not a multiple of max(align, 2 MiB).
        ENOSPC: the region has not that much left. On failure everything is as before.
        """
        with self.engine._operation():
            if self._device.region.is_static:
                raise KernelError(
                    errno.EACCES, f"{self.name} is in a static region; resizable devices have provider 'hmem'"
                )
            self.engine._resize(self._device, parse_size(size))

    def kill(self) -> None:
        """Revoke every mapping of every process (the kernel's kill_dax and unmap).

        Later touches raise SIGBUS at the exact address, open and mmap answer ENXIO. The data stays.
        """
        with self.engine._operation():
            self._device.kill()

    def revive(self) -> None:
        """Make a killed device work again (run_dax): old files and mappings too, with the data intact."""
        with self.engine._operation():
            self._device.run()

    def snapshot(self) -> DaxSnapshot:
        """Keep what the device holds now, to ``restore`` it. ENOSPC, ENOMEM: no memory for it.

        Bytes are shared with the device where the backing store can (reflink), else copied as far
        as they were ever written. What programs store meanwhile may be in it or not.
        """
        from daxemu.snapshot import DaxSnapshot

        with self.engine._operation():
            return DaxSnapshot(self.name, self._backing)

    def restore(self, snapshot: DaxSnapshot) -> int:
        """Put back what the device held; return how many bytes were written, or emptied, for it.

        Only pages that differ are. No program sees it half done: the device is dead meanwhile, and
        comes back with its mappings. EINVAL: the snapshot has another size, or is closed.
        """
        with self.engine._operation():
            if snapshot._file.fd < 0 or snapshot.size != self.size:
                state = "closed" if snapshot._file.fd < 0 else f"of {snapshot.size} bytes"
                raise KernelError(errno.EINVAL, f"{self.name} has {self.size} bytes, the snapshot is {state}")
            alive = self._device.alive
            if alive:
                self._device.kill()
            try:
                return self._backing.restore(snapshot._file)
            finally:
                if alive:
                    self._device.run()

    @property
    def _recorder(self) -> Recorder | None:
        return self.engine._recorders.get(self._device)

    def record(self, directory: str | os.PathLike[str] | None = None, *, scan: Scan | None = None) -> Recorder:
        """Record from now on what becomes durable: a context manager that ends it.

        Recorded are ``flush``, ``drain``, ``persist`` and ``marker`` of this interpreter's mappings,
        and what programs, also those that run already, do by libpmem, libpmem2 and the libraries on them.
        The recording is made in ``directory``, which is new; without one it is there for
        ``power_fail`` only. What the device holds now counts as durable: nobody should be writing to
        it.

        Lines that were stored and not flushed may be written back by a cache at any time. They are looked for
        at the end, and before events as ``scan`` says: ``fences`` (the default where there is a directory),
        ``flushes`` (these too), ``markers``, every N-th fence, or ``none``, which is fastest.

        EBUSY: it is recorded already, or four others are. ENXIO: it has no memory. UsageError: the
        directory exists; no such scan.
        """
        from daxemu.pmem.format import RECORDINGS_MOST
        from daxemu.pmem.recorder import Recorder

        with self.engine._operation():
            if self._recorder is not None:
                raise KernelError(errno.EBUSY, f"{self.name} is being recorded already")
            if len(self.engine._recorders) == RECORDINGS_MOST:
                raise KernelError(errno.EBUSY, f"{RECORDINGS_MOST} devices are being recorded, and no more can be")
            if not self.size or not self._device.registered:
                raise KernelError(errno.ENXIO, f"{self.name} has no memory to record")
            path = None if directory is None else Path(directory)
            wanted = scan if scan is not None else "none" if path is None else "fences"
            recorder = Recorder(self.engine, self._device, path, wanted)
            self.engine._recorders[self._device] = recorder
            return recorder

    def power_fail(self, policy: str | int = "none") -> int:
        """Power goes and comes back: what is not durable may be lost. Return how many lines have lost something.

        ``policy`` says what survives of each line of 64 bytes that was not flushed and fenced: with
        ``none`` what was durable, with ``all`` the last that was stored; a number is the seed by which
        one of all the contents that it had since is chosen. With eADR (``persistence="cpu_cache"``)
        all survives. Every mapping is revoked for good, as by ``unplug``, and the device comes back. A
        recording goes on: what came through is durable, and power may fail again. UsageError: no
        recording says what is durable, and policy is not ``all``.
        """
        with self.engine._operation():
            with ExitStack() as undo:
                left = self._cut_power(policy, undo)
                undo.pop_all()
            lost = self._lose(left)
            self.unplug()
            self.replug()
            if self._recorder is not None:
                self._recorder.resume()
        call_hook("daxemu_power_failed", device=self)
        return lost

    def _cut_power(self, policy: str | int, undo: ExitStack) -> dict[int, bytes]:
        """Let nobody store, unless it is undone. Return what lines that were not durable hold afterwards."""
        from daxemu.pmem.domain import survivors
        from daxemu.pmem.recorder import persistence_domain

        survivors(policy)  # it must be one
        recorder = self._recorder
        if persistence_domain(self._device) == "cpu_cache":
            policy = "all"
        if recorder is None and policy != "all":
            raise UsageError(
                f"nothing tells what of {self.name} is durable: record it first, by device.record() or "
                f"'daxemu device record {self.name}', or fail with 'all'"
            )
        if self._device.alive:
            self._device.kill()
            undo.callback(self._device.run)
        return recorder.fail(policy) if recorder is not None else {}

    def _lose(self, left: dict[int, bytes]) -> int:
        """Have lines hold what is left of them. Return how many have lost something."""
        lost = 0
        for offset, data in left.items():
            lost += os.pread(self._backing.bytes_fd, len(data), offset) != data
            os.pwrite(self._backing.bytes_fd, data, offset)
        return lost

    @property
    def poison(self) -> list[tuple[int, int]]:
        """Broken parts of the device as (offset, length) in bytes, in whole sectors of 512."""
        with self.engine._operation():
            return [(start, end - start) for start, end in self._device.poison]

    def inject_poison(self, offset: int | str, length: int | str = 512) -> None:
        """Break memory, as ``ndctl inject-error`` does: every sector of 512 bytes that holds some of the range.

        From now on a touch of such a block of the alignment, by any process through any node, is
        SIGBUS with si_code BUS_MCEERR_AR, si_addr the begin of the block and si_addr_lsb its size;
        kernel copies answer EFAULT, a ``DaxMapping`` raises DaxBusError. It is the memory that is
        broken: whoever gets the range next finds it so. EINVAL: no bytes, or not all of the device.
        ENODEV: the device was removed. EOPNOTSUPP: its backing store cannot. ENOSPC: too many parts.
        """
        self._set_poison(offset, length, poisoned=True)

    def clear_poison(self, offset: int | str = 0, length: int | str | None = None) -> None:
        """Mend memory, by default all of the device, with the bytes that it held.

        On hardware, writing whole sectors past the cache does that, and the old bytes are lost.
        Raises what ``inject_poison`` does.
        """
        self._set_poison(offset, length, poisoned=False)

    def _set_poison(self, offset: int | str, length: int | str | None, *, poisoned: bool) -> None:
        start = parse_size(offset)
        with self.engine._operation():
            amount = self.size - start if length is None else parse_size(length)
            self._device.set_poison(start, amount, poisoned=poisoned)

    @property
    def memory(self) -> DaxMemory | None:
        """The device as ordinary memory, while it is bound to kmem; else None."""
        from daxemu.memory import DaxMemory

        driver = self._device.driver
        return DaxMemory(self) if driver is not None and driver.name == "kmem" else None

    def bind(self, driver: str = "device_dax") -> None:
        """Give it to a driver. ENODEV: no such driver. EBUSY: it has one. ENXIO: it has size 0."""
        with self.engine._operation() as core:
            core.hand_over(self._device, driver)

    def unbind(self) -> None:
        """Take it from its driver: every mapping is revoked, opens answer ENXIO until ``bind``. ENODEV: it has none.

        From kmem: memory that is still online stays memory until the engine ends (``memory.offline``).
        """
        with self.engine._operation() as core:
            core.bus.unbind(self._device)

    def unplug(self) -> None:
        """Take its memory away without a warning; ``replug`` brings it back. A static region goes with its device.

        Every mapping is revoked, node and attributes vanish, open files answer as those of a dead
        device. Nobody else gets its name or its memory meanwhile. ENODEV: it is gone already.
        """
        from daxemu.kernel.hotplug import unplug_device

        with self.engine._operation():
            if self.region._is_static:
                self.region.unplug()
                return
            if not self._device.registered:
                raise KernelError(errno.ENODEV, f"{self.name} is not there to be unplugged")
            with self._memory_kept():
                self._absent = unplug_device(self._device)

    def replug(self) -> None:
        """Bring it back as it was: name, size, alignment, driver and bytes.

        Files and mappings from before stay dead, as they belong to a device that is gone.
        EBUSY: it is not unplugged. ENODEV: its region is gone.
        """
        from daxemu.kernel.hotplug import plug_device

        with self.engine._operation():
            if self.region._is_static:
                self.region.replug()
                return
            if self._absent is None:
                raise KernelError(errno.EBUSY, f"{self.name} is not unplugged")
            with self._memory_kept():
                self._replace(plug_device(self._absent))
            self._absent = None

    def _memory_kept(self) -> AbstractContextManager[None]:
        return self.engine._wiring.memories[self.region._hardware.start].kept()

    def _replace(self, device: DevDax) -> None:
        """It has come back as another object of the model."""
        self.region._facades.pop(self._device, None)
        recorder = self.engine._recorders.pop(self._device, None)
        self._device = device
        self.region._facades[device] = self
        if recorder is not None:
            recorder.follow(device)
            self.engine._recorders[device] = recorder

    def destroy(self) -> None:
        """Remove the device, as ``daxctl destroy-device --force`` does: revoke, size 0, delete.

        The first device of a dynamic region stays, with size 0. EACCES: a static region.
        """
        with self.engine._operation() as core:
            if self._device.region.is_static:
                raise KernelError(errno.EACCES, f"{self.name} is in a static region: it goes with its region")
            self.engine._take_from_driver(self._device)
            self._device.resize(0)
            if self._device.id:
                core.delete_device(self._device)
