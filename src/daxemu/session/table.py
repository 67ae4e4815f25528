"""The shared table, written: which devices and nodes there are, for readers that take no lock."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from pathlib import Path

from daxemu._core import table_write
from daxemu.errors import KernelError
from daxemu.kernel.flavour import Flavour
from daxemu.kernel.ids import Devt, Ida
from daxemu.session import layout

__all__ = ["Table"]


class Table:
    """The one writer of a session's table."""

    def __init__(self, path: Path, *, major: int, flavour: Flavour) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, layout.TABLE_SIZE)
            self._memory = mmap.mmap(fd, layout.TABLE_SIZE)
        finally:
            os.close(fd)
        self._header = {
            "magic": layout.TABLE_MAGIC,
            "version": layout.WIRE_VERSION,
            "owner_pid": os.getpid(),
            "major": major,
            "quirks": sum(getattr(flavour, name) << bit for bit, name in enumerate(layout.QUIRKS)),
        }
        self._room = layout.NR_DEVICES
        self._alias_slots = Ida(layout.NR_NODES - layout.NR_DEVICES, "aliases of device nodes")
        self._other_slots = Ida(layout.NR_OTHERS, "nodes of the nvdimm bus")
        self._lock = threading.Lock()  # the header has two writers: operations, and new aliases
        self._buried = 0
        self._checks = 0
        self._poison: dict[int, list[tuple[int, int, int]]] = {}  # by minor
        self._write_header()

    def _write_header(self) -> None:
        """Everything but ``seq``, which the write itself advances."""
        data = layout.HEADER.pack(**self._header)
        at = layout.HEADER.offset("seq")
        table_write(self._memory, 0, data[:at])
        table_write(self._memory, at + 4, data[at + 4 :])

    def _raise_to(self, name: str, value: int) -> None:
        with self._lock:
            if self._header.get(name, 0) < value:
                self._header[name] = value
                self._write_header()

    def set_asks(self, asks: int) -> None:
        """Say what clients have to ask before they do it."""
        with self._lock:
            self._header["asks"] = asks
            self._write_header()

    def set_shows_tree(self) -> None:
        """Say that programs need not ask for the files below /sys any more."""
        with self._lock:
            self._header["shows_tree"] = 1
            self._write_header()

    def count_recording(self) -> None:
        """Say that a recording has begun."""
        with self._lock:
            self._header["recordings"] = self._header.get("recordings", 0) + 1 & 0xFFFFFFFF
            self._write_header()

    def check_room(self, minor: int) -> None:
        """Raise ENOSPC for a minor that the table has no room for."""
        if minor >= self._room:
            raise KernelError(errno.ENOSPC, f"a session shows at most {self._room} devices to programs")

    def set_device(
        self,
        minor: int,
        *,
        alive: bool,
        movable: bool,
        read_only: bool,
        identity: tuple[int, int],
        size: int,
        align: int,
        **name: int,
    ) -> None:
        """Show a device."""
        flags = layout.DEVICE_PRESENT | layout.DEVICE_ALIVE * alive | layout.DEVICE_MOVABLE * movable
        flags |= layout.DEVICE_READ_ONLY * read_only
        dev, ino = identity
        record = layout.DEVICE.pack(flags=flags, minor=minor, dev=dev, ino=ino, size=size, align=align, **name)
        table_write(self._memory, layout.DEVICES_OFFSET + minor * layout.DEVICE.size, record)
        self._raise_to("nr_devices", minor + 1)

    def set_poison(self, minor: int, broken: list[tuple[int, int]], scattered: list[tuple[int, int]]) -> None:
        """Show which parts [first, end) of a device are broken or scattered. ENOSPC without room for so many."""
        parts = [(0, *part) for part in broken] + [(1, *part) for part in scattered]
        if parts == self._poison.get(minor, []):
            return
        poison = self._poison | {minor: parts}
        records = [
            layout.POISON.pack(minor=of, scattered=kind, first=first, end=end)
            for of in sorted(poison)
            for kind, first, end in poison[of]
        ]
        if len(records) > layout.NR_POISON:
            raise KernelError(errno.ENOSPC, f"a session shows at most {layout.NR_POISON} poisoned parts to programs")
        self._poison = poison
        table_write(self._memory, layout.POISON_OFFSET, b"".join(records))
        with self._lock:
            self._header["nr_poison"] = len(records)
            self._header["poison_serial"] = self._header.get("poison_serial", 0) + 1 & 0xFFFFFFFF
            self._write_header()

    def set_check(self, minor: int, first: int, end: int, by: int) -> None:
        """Show that a part of a device was found broken, by a process or, if it is 0, by nobody."""
        self._checks = self._checks + 1 & 0xFFFFFFFF
        record = layout.CHECK.pack(serial=self._checks, minor=minor, first=first, end=end, by=by)
        table_write(self._memory, layout.CHECK_OFFSET, record)

    def clear_device(self, minor: int) -> None:
        """A device and its node are gone; descriptors of it are known as a dead device's."""
        at = layout.DEVICES_OFFSET + minor * layout.DEVICE.size
        device = layout.DEVICE.unpack(self._memory[at : at + layout.DEVICE.size])
        if not device["flags"] & layout.DEVICE_PRESENT:
            return
        self.set_poison(minor, [], [])
        grave = layout.GRAVE.pack(**{name: device[name] for name in ("dev", "ino", "minor", "region", "id")})
        slot = self._buried % layout.NR_GRAVES
        table_write(self._memory, layout.GRAVES_OFFSET + slot * layout.GRAVE.size, grave)
        self._buried += 1
        self._raise_to("nr_graves", min(self._buried, layout.NR_GRAVES))
        table_write(self._memory, at, bytes(layout.DEVICE.size))
        self._set_node(minor, bytes(layout.NODE.size))

    def _set_node(self, slot: int, record: bytes) -> None:
        table_write(self._memory, layout.NODES_OFFSET + slot * layout.NODE.size, record)

    def set_node(self, minor: int, identity: tuple[int, int]) -> None:
        """Show which file stands for a device's node in /dev."""
        dev, ino = identity
        self._set_node(minor, layout.NODE.pack(dev=dev, ino=ino, minor=minor, flags=layout.NODE_PRESENT))

    def add_alias(self, minor: int, identity: tuple[int, int]) -> int:
        """Show one more file that stands for a device number; return its slot. ENOSPC when there is no room."""
        slot = self._alias_slots.alloc()
        dev, ino = identity
        flags = layout.NODE_PRESENT | layout.NODE_ALIAS
        self._set_node(layout.NR_DEVICES + slot, layout.NODE.pack(dev=dev, ino=ino, minor=minor, flags=flags))
        self._raise_to("nr_aliases", slot + 1)
        return slot

    def set_other(self, identity: tuple[int, int], devt: Devt, *, block: bool, memory: tuple[int, int] = (0, 0)) -> int:
        """Show a node that is none of a dax device; return its slot. ENOSPC when there is no room."""
        slot = self._other_slots.alloc()
        record = layout.OTHER.pack(
            flags=layout.OTHER_PRESENT | layout.OTHER_BLOCK * block,
            dev=identity[0],
            ino=identity[1],
            memory_dev=memory[0],
            memory_ino=memory[1],
            major=devt.major,
            minor=devt.minor,
        )
        table_write(self._memory, layout.OTHERS_OFFSET + slot * layout.OTHER.size, record)
        self._raise_to("nr_others", slot + 1)
        return slot

    def clear_other(self, slot: int) -> None:
        """Such a node is gone."""
        table_write(self._memory, layout.OTHERS_OFFSET + slot * layout.OTHER.size, bytes(layout.OTHER.size))
        self._other_slots.free(slot)

    def clear_alias(self, slot: int) -> None:
        """An alias is gone."""
        self._set_node(layout.NR_DEVICES + slot, bytes(layout.NODE.size))
        self._alias_slots.free(slot)

    def close(self) -> None:
        """Tell programs that outlive the session that it ended in order."""
        self._header["magic"] = 0
        self._write_header()
        self._memory.close()
