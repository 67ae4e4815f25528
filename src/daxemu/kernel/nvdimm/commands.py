"""Commands that the nvdimm bus takes through /dev/ndctl0: finding, mending and injecting errors."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, NamedTuple

from daxemu.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daxemu.kernel.nvdimm.bus import NvdimmBus
    from daxemu.kernel.nvdimm.region import NdRegion

__all__ = ["COMMANDS", "FIRMWARE_MASK", "command"]

_TYPE = ord("N")

# Fields that the caller sets, and all fields of the argument; ``linux/ndctl.h`` and the ACPI specification name them.
_RANGE = struct.Struct("<QQ")
_ARS_CAP = struct.Struct("<QQIIIHH")
_ARS_START = struct.Struct("<QQHB5xII")
_ARS_STATUS = struct.Struct("<IIQQQQHHI")
_ARS_RECORD = struct.Struct("<IIQQ")
_CLEAR_ERROR = struct.Struct("<QQI4xQ")
_CALL = struct.Struct("<QQII36xI")
_INJECT = struct.Struct("<QQBI")
_UNINJECT = struct.Struct("<QQI")
_INJECTED = struct.Struct("<II")
_TRANSLATE = struct.Struct("<QIB3xQI")
_TRANSLATED = struct.Struct("<II Q")

_INVALID = 2  # a firmware's status: the parameters are wrong
_PERSISTENT = 2 << 16  # what of a range can be scrubbed
_CLEAR_UNIT = 256
_MOST_OUTPUT = 4096
_NOTIFY = 1  # the kernel is to be told of the injected error at once


def _region_of(bus: NvdimmBus, start: int, length: int) -> NdRegion | None:
    """The region that has all of a range."""
    for region in bus.regions.values():
        if region.start <= start and start + length <= region.start + region.size and length:
            return region
    return None


def _broken(bus: NvdimmBus, start: int, length: int) -> Iterator[tuple[int, int, NdRegion]]:
    """Broken parts (start, length, region) within a range."""
    for region in bus.regions.values():
        for first, end in region.broken():
            first, end = max(first, start), min(end, start + length)
            if first < end:
                yield first, end - first, region


# -- address range scrub ------------------------------------------------------------------------


def _ars_cap(bus: NvdimmBus, argument: bytes) -> bytes:
    """What can be done about errors in a range."""
    start, length = _RANGE.unpack_from(argument)
    known = _region_of(bus, start, length) is not None
    status = _PERSISTENT if known else _INVALID
    return _ARS_CAP.pack(start, length, status, _MOST_OUTPUT * known, _CLEAR_UNIT * known, 0, 0)


def _ars_start(bus: NvdimmBus, argument: bytes) -> bytes:
    """Scrub a range. It is done before the answer."""
    start, length, kind, flags, _, _ = _ARS_START.unpack_from(argument)
    if _region_of(bus, start, length) is None:
        return _ARS_START.pack(start, length, kind, flags, _INVALID, 0)
    bus.scrub()
    bus.scrubbed = (start, length)
    return _ARS_START.pack(start, length, kind, flags, 0, 0)


def _ars_status(bus: NvdimmBus, argument: bytes) -> bytes:
    """What the last scrub has found."""
    start, length = bus.scrubbed
    room = (len(argument) - _ARS_STATUS.size) // _ARS_RECORD.size
    found = list(_broken(bus, start, length))[: max(room, 0)]
    records = b"".join(_ARS_RECORD.pack(region.dimm.handle, 0, at, size) for at, size, region in found)
    used = _ARS_STATUS.size + len(records)
    head = _ARS_STATUS.pack(0, used, start, length, 0, 0, _PERSISTENT >> 16, 0, len(found))
    return (head + records).ljust(len(argument), b"\0")


def _clear_error(bus: NvdimmBus, argument: bytes) -> bytes:
    """Mend a range. EBUSY: part of it is in use as a block device."""
    start, length, _, _ = _CLEAR_ERROR.unpack_from(argument)
    region = _region_of(bus, start, length)
    if region is None or start % _CLEAR_UNIT or length % _CLEAR_UNIT:
        return _CLEAR_ERROR.pack(start, length, _INVALID, 0)
    if region.namespace is not None and region.namespace.driver is not None:
        raise KernelError(errno.EBUSY, f"{region.namespace.name} is in use")
    region.set_poison(start, start + length, poisoned=False)
    return _CLEAR_ERROR.pack(start, length, 0, length)


# -- calls of the firmware: translating addresses, injecting errors --------------------------------


def _translate(bus: NvdimmBus, argument: bytes) -> bytes:
    (start,) = struct.unpack_from("<Q", argument)
    region = _region_of(bus, start, 1)
    if region is None:
        return _TRANSLATE.pack(start, _INVALID, 0, 0, 0)
    length = region.start + region.size - start
    return _TRANSLATE.pack(start, 0, 0, length, 1) + _TRANSLATED.pack(region.dimm.handle, 0, start - region.start)


def _inject(bus: NvdimmBus, argument: bytes) -> bytes:
    start, length, options, _ = _INJECT.unpack_from(argument)
    region = _region_of(bus, start, length)
    if region is None:
        return _INJECT.pack(start, length, options, _INVALID)
    region.latent.add(start, start + length)
    if options & _NOTIFY:  # the kernel, when told, scrubs; ndctl waits for the count of scrubs to go up
        bus.scrub()
    return _INJECT.pack(start, length, options, 0)


def _uninject(bus: NvdimmBus, argument: bytes) -> bytes:
    start, length, _ = _UNINJECT.unpack_from(argument)
    region = _region_of(bus, start, length)
    if region is None:
        return _UNINJECT.pack(start, length, _INVALID)
    region.set_poison(start, start + length, poisoned=False)
    return _UNINJECT.pack(start, length, 0)


def _injected(bus: NvdimmBus, argument: bytes) -> bytes:
    room = (len(argument) - _INJECTED.size) // _RANGE.size
    found = [_RANGE.pack(at, size) for at, size, _ in _broken(bus, 0, 1 << 63)][: max(room, 0)]
    return _INJECTED.pack(0, len(found)) + b"".join(found)


class _Call(NamedTuple):
    """A call of the firmware: fixed size of its argument, and what carries it out."""

    size: int
    run: Callable[[NvdimmBus, bytes], bytes]


_FIRMWARE = {
    5: _Call(_TRANSLATE.size, _translate),
    7: _Call(_INJECT.size, _inject),
    8: _Call(_UNINJECT.size, _uninject),
    9: _Call(_INJECTED.size, _injected),
}
FIRMWARE_MASK = sum(1 << number for number in _FIRMWARE)


def _call(bus: NvdimmBus, argument: bytes) -> bytes:
    """Call the firmware. ENOTTY: it has no such function."""
    family, number, size_in, size_out, _ = _CALL.unpack_from(argument)
    call = _FIRMWARE.get(number)
    if family != 0 or call is None:
        raise KernelError(errno.ENOTTY, f"the firmware has no function {number} of family {family}")
    payload = argument[_CALL.size : _CALL.size + size_in + size_out]
    if len(payload) < call.size or size_in > call.size:
        raise KernelError(errno.EINVAL, f"function {number} takes {call.size} bytes, not {len(payload)}")
    whole = call.run(bus, payload)
    # The caller has the input in front; what the firmware wrote follows it.
    answer = whole[size_in : size_in + size_out]
    head = _CALL.pack(family, number, size_in, size_out, len(whole) - size_in)
    return head + payload[:size_in] + answer.ljust(size_out, b"\0")


class _Command(NamedTuple):
    """A command: its name in sysfs, the least size of its argument, and what carries it out."""

    name: str
    size: int
    run: Callable[[NvdimmBus, bytes], bytes]


COMMANDS = {
    1: _Command("ars_cap", _ARS_CAP.size, _ars_cap),
    2: _Command("ars_start", _ARS_START.size, _ars_start),
    3: _Command("ars_status", _ARS_STATUS.size, _ars_status),
    4: _Command("clear_error", _CLEAR_ERROR.size, _clear_error),
    10: _Command("cmd_call", _CALL.size, _call),
}


def command(bus: NvdimmBus, name: str, request: int, argument: bytes) -> bytes:
    """Carry out an ioctl on a node of the bus; return its argument as it is afterwards.

    ENOTTY: no such command there (a module takes none). EINVAL: the argument is too small.
    """
    found = COMMANDS.get(request & 0xFF)
    if found is None or request >> 8 & 0xFF != _TYPE or name != bus.control.name:
        raise KernelError(errno.ENOTTY, f"/dev/{name} takes no command {request:#x}")
    if len(argument) < found.size:
        raise KernelError(errno.EINVAL, f"{found.name} takes at least {found.size} bytes, not {len(argument)}")
    return found.run(bus, argument)
