"""What writing an attribute of the nvdimm bus does: read the text as the kernel does, then ask the model."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from daxemu.errors import KernelError
from daxemu.kernel.nvdimm.claim import SECTOR_SIZES, Claim
from daxemu.kernel.nvdimm.namespace import Namespace
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.region import ALIGNMENTS
from daxemu.sysfs.parse import parse_bool, parse_unsigned, same_text

if TYPE_CHECKING:
    from daxemu.kernel.nvdimm.bus import NvdimmBus
    from daxemu.kernel.nvdimm.device import NdDevice
    from daxemu.kernel.nvdimm.drivers import NdDriver

__all__ = [
    "store_claim_align",
    "store_claim_mode",
    "store_claim_namespace",
    "store_claim_uuid",
    "store_deep_flush",
    "store_force_raw",
    "store_holder_class",
    "store_nd_autoprobe",
    "store_nd_bind",
    "store_nd_probe",
    "store_nd_unbind",
    "store_read_only",
    "store_region_align",
    "store_scrub",
    "store_sector_size",
]

_UUID = re.compile(r"(?:[0-9a-fA-F]{2}[-:\n]?){16}")


def _choice(text: str, choices: tuple[int, ...]) -> int:
    value = parse_unsigned(text)
    if value not in choices:
        raise KernelError(errno.EINVAL, f"{value} is none of {', '.join(map(str, choices))}")
    return value


def store_claim_align(claim: Claim, text: str) -> None:
    """Choose the alignment. EBUSY: a driver has it. EINVAL: none that is supported."""
    claim.must_be_unbound()
    claim.align = _choice(text, ALIGNMENTS)
    claim.changed()


def store_sector_size(claim: Claim, text: str) -> None:
    """Choose the size of sectors. EBUSY: a driver has it. EINVAL: none that is supported."""
    claim.must_be_unbound()
    claim.sector_size = _choice(text, SECTOR_SIZES)
    claim.changed()


def store_claim_mode(claim: Claim, text: str) -> None:
    """Choose where the page map is. EBUSY: a driver has it. EINVAL: neither pmem nor ram nor none."""
    claim.must_be_unbound()
    mode = same_text(text)
    if mode not in ("pmem", "ram", "none"):
        raise KernelError(errno.EINVAL, f"{mode!r} is none of pmem, ram, none")
    claim.mode = mode
    claim.changed()


def store_claim_uuid(claim: Claim, text: str) -> None:
    """Give it an identity. EBUSY: a driver has it. EINVAL: not 16 bytes in hexadecimal."""
    claim.must_be_unbound()
    match = _UUID.match(text)
    if match is None:
        raise KernelError(errno.EINVAL, f"{text!r} is no uuid")
    claim.uuid = bytes.fromhex(re.sub(r"[-:\n]", "", match[0]))
    claim.changed()


def store_claim_namespace(claim: Claim, text: str) -> None:
    """Claim a namespace, or give it up. Errors as for ``Claim.set_namespace``."""
    claim.set_namespace(same_text(text))
    claim.changed()


def store_force_raw(namespace: Namespace, text: str) -> None:
    """Look at the info block, or not. EINVAL: no truth value."""
    namespace.force_raw = parse_bool(text)
    namespace.changed()


def store_holder_class(namespace: Namespace, text: str) -> None:
    """Unlabelled namespaces have none to set: EBUSY while it is in use, else ENXIO; EINVAL: no class."""
    if namespace.driver is not None or namespace.claim is not None:
        raise KernelError(errno.EBUSY, f"{namespace.name} is active")
    if same_text(text) not in ("", "btt", "pfn", "dax"):
        raise KernelError(errno.EINVAL, f"{text!r} is none of btt, pfn, dax")
    raise KernelError(errno.ENXIO, f"{namespace.name} has no label to keep it in")


def store_read_only(region: NdRegion, text: str) -> None:
    """Protect the region from info blocks being written. EINVAL: no truth value."""
    region.read_only = parse_bool(text)
    region.changed()


def store_region_align(region: NdRegion, text: str) -> None:
    """Choose what namespaces are aligned to. EINVAL: no power of two of a page or more, no part of the region."""
    align = parse_unsigned(text)
    if align < 4096 or align & (align - 1) or align > region.size:
        raise KernelError(errno.EINVAL, f"{align} cannot be an alignment in {region.name}")
    region.align = align
    region.changed()


def store_deep_flush(region: NdRegion, text: str) -> None:
    """Have the memory controller write what it holds. EINVAL: not 1."""
    if not parse_bool(text):
        raise KernelError(errno.EINVAL, "only 1 may be written to deep_flush")
    region.deep_flush()


def store_scrub(bus: NvdimmBus, text: str) -> None:
    """Look for broken memory, at once. EINVAL: not 1."""
    if parse_unsigned(text) != 1:
        raise KernelError(errno.EINVAL, "only 1 may be written to scrub")
    bus.scrub()


def _device(bus: NvdimmBus, text: str) -> NdDevice:
    device = bus.devices.get(same_text(text))
    if device is None:
        raise KernelError(errno.ENODEV, f"no device {text!r} on the nd bus")
    return device


def store_nd_bind(driver: NdDriver, text: str) -> None:
    """Bind a device. ENODEV: unknown; then as ``NvdimmBus.bind``."""
    driver.bus.bind(driver, _device(driver.bus, text))


def store_nd_unbind(driver: NdDriver, text: str) -> None:
    """Unbind a device. ENODEV: it is not bound to this driver."""
    device = _device(driver.bus, text)
    if device.driver is not driver:
        raise KernelError(errno.ENODEV, f"{driver.name} has not bound {device.name}")
    driver.bus.unbind(device)


def store_nd_probe(bus: NvdimmBus, text: str) -> None:
    """Offer an unbound device to the drivers; that none takes it is no error. ENODEV: unknown."""
    device = _device(bus, text)
    if device.driver is None:
        bus.probe(device)


def store_nd_autoprobe(bus: NvdimmBus, text: str) -> None:
    """Offer new devices to the drivers, unless the text begins with 0."""
    bus.autoprobe = not text.startswith("0")
