"""The shared table and the wire protocol, once: Python packs by it, the C header is generated from it.

Run as a program (``python layout.py HEADER``) this file writes the header; it therefore imports
nothing but the standard library.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "AGENT",
    "ASK_OPEN",
    "ASK_TO_OPEN",
    "CHECK",
    "CHECK_OFFSET",
    "COMMAND",
    "COMMAND_MOST",
    "CONSTANTS",
    "DEVICE",
    "DEVICES_OFFSET",
    "DEVICE_ALIVE",
    "DEVICE_MOVABLE",
    "DEVICE_PRESENT",
    "DEVICE_READ_ONLY",
    "GRAVE",
    "GRAVES_OFFSET",
    "HEADER",
    "HWPOISON",
    "IOCTL",
    "IOCTL_MOST",
    "LOG",
    "MESSAGE",
    "MESSAGE_MAGIC",
    "MOVED",
    "MOVED_DEAD",
    "MOVED_POISONED",
    "MOVED_REFUSED",
    "MOVED_SCATTERED",
    "NODE",
    "NODES_OFFSET",
    "NODE_ALIAS",
    "NODE_PRESENT",
    "NR_DEVICES",
    "NR_GRAVES",
    "NR_NODES",
    "NR_OTHERS",
    "NR_POISON",
    "OPEN",
    "OPEN_DISK",
    "OTHER",
    "OTHERS_OFFSET",
    "OTHER_BLOCK",
    "OTHER_PRESENT",
    "OWNED_PATHS",
    "POISON",
    "POISON_OFFSET",
    "QUIRKS",
    "REFUSAL",
    "REFUSED_PRIVATE",
    "REFUSED_UNALIGNED",
    "REGISTER_NODE",
    "SHOWN_ON_DEMAND",
    "SHOW_MACHINE",
    "SHOW_TREE",
    "STORE",
    "STORE_MOST",
    "SYNC",
    "TABLE_MAGIC",
    "TABLE_SIZE",
    "WIRE_VERSION",
    "Record",
]

_C_TYPES = {"B": "uint8_t", "H": "uint16_t", "I": "uint32_t", "i": "int32_t", "Q": "uint64_t"}


class Record(NamedTuple):
    """A C struct without padding: ``fields`` maps each name to a struct format character."""

    name: str
    fields: dict[str, str]

    @property
    def format(self) -> str:
        """Format for the struct module, native byte order."""
        return "=" + "".join(self.fields.values())

    @property
    def size(self) -> int:
        """Bytes."""
        return struct.calcsize(self.format)

    def offset(self, name: str) -> int:
        """Where a field begins, in bytes."""
        names = list(self.fields)
        return struct.calcsize("=" + "".join(self.fields[before] for before in names[: names.index(name)]))

    def pack(self, **values: int) -> bytes:
        """Bytes of one record; fields that are not named are 0."""
        unknown = values.keys() - self.fields.keys()
        assert not unknown, f"{self.name} has no fields {unknown}"
        return struct.pack(self.format, *(values.get(name, 0) for name in self.fields))

    def unpack(self, data: bytes) -> dict[str, int]:
        """Fields of one record."""
        return dict(zip(self.fields, struct.unpack_from(self.format, data), strict=True))

    def c_struct(self) -> str:
        """The same as a C declaration."""
        body = "".join(f"\t{_C_TYPES[code]} {name};\n" for name, code in self.fields.items())
        size = f'_Static_assert(sizeof(struct {self.name}) == {self.size}, "layout of {self.name}");\n'
        return f"struct {self.name} {{\n{body}}};\n{size}"


WIRE_VERSION = 2
TABLE_MAGIC = 0x3154584144  # "DAXT1"
MESSAGE_MAGIC = 0x44584D31

# ``seq`` is odd while a writer is at work; readers copy, then look again. ``shows_tree``: SHOW_TREE was there.
# ``recordings`` is another number whenever one has begun.
HEADER = Record(
    "table_header",
    {
        "magic": "Q",
        "version": "I",
        "seq": "I",
        "owner_pid": "I",
        "major": "I",
        "nr_devices": "I",
        "nr_nodes": "I",
        "nr_aliases": "I",
        "nr_graves": "I",
        "quirks": "Q",
        "nr_poison": "I",
        "poison_serial": "I",
        "asks": "Q",
        "nr_others": "I",
        "shows_tree": "I",
        "recordings": "I",
        "unused": "I",
    },
)

# What clients ask the engine before they do it: bits of the header's ``asks``.
ASK_OPEN = 1  # some open is to fail, or to take long

DEVICE_PRESENT = 1
DEVICE_ALIVE = 2
DEVICE_MOVABLE = 4  # its mappings can be moved within their file
DEVICE_READ_ONLY = 8

# A device's slot is its minor. ``dev`` and ``ino`` name its backing file, the unified inode.
DEVICE = Record(
    "table_device",
    {"flags": "I", "minor": "I", "dev": "Q", "ino": "Q", "size": "Q", "align": "Q", "region": "i", "id": "i"},
)

NODE_PRESENT = 1
NODE_ALIAS = 2

# A node is an ordinary file that stands for a device number: /dev/daxX.Y, or an alias made by mknod.
NODE = Record("table_node", {"dev": "Q", "ino": "Q", "minor": "I", "flags": "I"})

# The backing files of devices that are gone: descriptors of them are still descriptors of a (dead)
# device, and show its name. The oldest are forgotten.
GRAVE = Record("table_grave", {"dev": "Q", "ino": "Q", "minor": "I", "region": "i", "id": "i", "unused": "I"})
NR_GRAVES = 1024

# A part [first, end) of a device, in whole blocks of its alignment, that no mapping gives: it is broken, or
# ``scattered``, a block that does not lie whole in one range. ``poison_serial``
# of the header tells when any of these has changed.
POISON = Record("table_poison", {"minor": "I", "scattered": "I", "first": "Q", "end": "Q"})
NR_POISON = 4096

# The last part [first, end) of a device that was found broken: whoever has asked to be told early is told when mappings
# are synchronised next, but for the process ``by``, which knows. ``serial`` tells one from another.
CHECK = Record("table_check", {"serial": "I", "minor": "I", "first": "Q", "end": "Q", "by": "i", "unused": "I"})
CHECK_OFFSET = 2048

OTHER_PRESENT = 1
OTHER_BLOCK = 2

# A node in /dev that is none of a dax device: of the nvdimm bus, of a module, of a raw namespace.
# ``memory_dev`` and ``memory_ino`` name the file that the last kind opens.
OTHER = Record(
    "table_other",
    {
        "dev": "Q",
        "ino": "Q",
        "memory_dev": "Q",
        "memory_ino": "Q",
        "flags": "I",
        "major": "I",
        "minor": "I",
        "unused": "I",
    },
)

NR_DEVICES = 16384
NR_NODES = NR_DEVICES + 1024
DEVICES_OFFSET = 4096
NODES_OFFSET = DEVICES_OFFSET + NR_DEVICES * DEVICE.size
GRAVES_OFFSET = NODES_OFFSET + NR_NODES * NODE.size
POISON_OFFSET = GRAVES_OFFSET + NR_GRAVES * GRAVE.size
OTHERS_OFFSET = POISON_OFFSET + NR_POISON * POISON.size
NR_OTHERS = 2 * NR_DEVICES
TABLE_SIZE = (OTHERS_OFFSET + NR_OTHERS * OTHER.size + 4095) & ~4095

# Requests of a client, answered with the same type: OPEN brings the backing file's descriptor;
# AGENT turns the connection into one that the engine sends SYNC on, answered when it is done;
# REGISTER_NODE carries a descriptor of the alias.
OPEN = 1
AGENT = 2
REGISTER_NODE = 3
SYNC = 4
# STORE carries an attribute's path below /, a zero byte, and what is written to it.
STORE = 5
# SHOW_TREE has the files below /sys written, which no program needs that does not look there. SHOW_MACHINE has
# what is below SHOWN_ON_DEMAND written too, or brought up to date; even fewer look there.
SHOW_TREE = 13
SHOW_MACHINE = 7
STORE_MOST = 4096
# LOG carries a REFUSAL and the program's name: why a mapping was refused, for the kernel's log.
LOG = 6
REFUSED_PRIVATE = 1
REFUSED_UNALIGNED = 2
# COMMAND carries a request of the command line as JSON; so does the answer.
COMMAND = 8
COMMAND_MOST = 1 << 16
# ASK_TO_OPEN may take long; its answer says whether the device may be opened.
ASK_TO_OPEN = 9
# Both carry the name of a node in /dev: OPEN_DISK is answered with a descriptor of the memory of a raw
# namespace, IOCTL (a zero byte and the argument follow the name, ``serial`` is the request) with the argument.
OPEN_DISK = 10
IOCTL = 11
IOCTL_MOST = 8192
# HWPOISON carries a CHECK: what its process pretends to be broken, by madvise.
HWPOISON = 12

MESSAGE = Record(
    "message",
    {"magic": "I", "version": "I", "type": "I", "length": "I", "status": "i", "minor": "I", "serial": "Q"},
)

# What ``start`` and ``end`` were to be: addresses in the client.
REFUSAL = Record("refusal", {"reason": "Q", "start": "Q", "end": "Q"})

# Below these directories only the emulated tree exists, whatever the machine has.
OWNED_PATHS = ("/sys/bus/dax", "/sys/class/dax", "/sys/bus/nd", "/sys/class/nd")

# Below these too. Memory that is emulated goes online and offline here, and the machine's own never.
SHOWN_ON_DEMAND = (
    "/sys/devices/system/memory",
    "/sys/devices/system/node",
    "/sys/bus/memory",
    "/sys/bus/node",
    "/sys/module/memory_hotplug",
)

# Why every touch of a part of a mapping is SIGBUS: for each reason that holds it is moved up in its
# backing file by so many bytes, far past the end of any device.
MOVED_DEAD = 1 << 50  # the device is dead
MOVED_REFUSED = 1 << 51  # the driver refuses every fault: it maps whole blocks, and here it may not
MOVED_POISONED = 1 << 52  # the memory is broken
MOVED_SCATTERED = 1 << 53  # the driver refuses every fault: the block lies in more than one range
MOVED = MOVED_DEAD | MOVED_REFUSED | MOVED_POISONED | MOVED_SCATTERED

# The flavour's quirks that the C side has to know, by the names that they have there; bits of the header's ``quirks``.
QUIRKS = (
    "fixed_splits_enomem",
    "stack_forbids_huge",
    "fallocate_mix_einval",
    "seals_mappings",
    "counts_touched_blocks",
)

CONSTANTS = {
    name: value
    for name, value in list(globals().items())
    if name.isupper() and isinstance(value, int) and not name.startswith("_")
}


def c_header() -> str:
    """The whole as a C header."""
    defines = "".join(f"#define DX_{name} {value:#x}\n" for name, value in CONSTANTS.items())
    structs = "\n".join(
        record.c_struct()
        for record in (
            *(HEADER, DEVICE, NODE, GRAVE, POISON, CHECK, OTHER),
            *(MESSAGE, REFUSAL),
        )
    )
    defines += "".join(f"#define DX_QUIRK_{name.upper()} {1 << bit:#x}\n" for bit, name in enumerate(QUIRKS))
    owned = ", ".join(f'"{path}"' for path in OWNED_PATHS)
    on_demand = ", ".join(f'"{path}"' for path in SHOWN_ON_DEMAND)
    return (
        "/* Generated from session/layout.py: change it there. */\n"
        "#ifndef DX_LAYOUT_H\n#define DX_LAYOUT_H\n#include <stdint.h>\n\n"
        f"{defines}#define DX_OWNED_PATHS {{ {owned} }}\n"
        f"#define DX_SHOWN_ON_DEMAND {{ {on_demand} }}\n\n{structs}\n#endif\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(c_header(), encoding="ascii")
