"""The attribute tables of the nvdimm bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daxemu.kernel.nvdimm.bus import ControlDevice, NvdimmBus
from daxemu.kernel.nvdimm.claim import SECTOR_SIZES, Claim, DaxClaim
from daxemu.kernel.nvdimm.commands import COMMANDS, FIRMWARE_MASK
from daxemu.kernel.nvdimm.device import NdDevice
from daxemu.kernel.nvdimm.disk import Disk
from daxemu.kernel.nvdimm.drivers import NdDriver
from daxemu.kernel.nvdimm.namespace import Namespace
from daxemu.kernel.nvdimm.region import Dimm, NdRegion
from daxemu.kernel.region import ALIGNMENTS
from daxemu.sysfs.attributes import Attribute, Subject, show_uevent
from daxemu.sysfs.nvdimm_stores import (
    store_claim_align,
    store_claim_mode,
    store_claim_namespace,
    store_claim_uuid,
    store_deep_flush,
    store_force_raw,
    store_holder_class,
    store_nd_autoprobe,
    store_nd_bind,
    store_nd_probe,
    store_nd_unbind,
    store_read_only,
    store_region_align,
    store_scrub,
    store_sector_size,
)
from daxemu.sysfs.stores import store_uevent

__all__ = [
    "BTT_ATTRIBUTES",
    "CONTROL_ATTRIBUTES",
    "DIMM_ATTRIBUTES",
    "DIMM_FIRMWARE_ATTRIBUTES",
    "DISK_ATTRIBUTES",
    "NAMESPACE_ATTRIBUTES",
    "NDBUS_ATTRIBUTES",
    "NDBUS_FIRMWARE_ATTRIBUTES",
    "ND_BUS_ATTRIBUTES",
    "ND_DRIVER_ATTRIBUTES",
    "ND_REGION_ATTRIBUTES",
    "ND_REGION_FIRMWARE_ATTRIBUTES",
    "PAGE_MAP_ATTRIBUTES",
]


def _file(
    name: str,
    mode: int,
    show: Callable[[Subject], str | int | None] | None,
    store: Callable[[Subject, str], None] | None = None,
) -> Attribute[Subject]:
    """One file: the same on every region. What it shows gets its newline here."""

    def text(subject: Subject) -> str | None:
        value = show(subject) if show else None
        return None if value is None else f"{value}\n"

    return Attribute(name, mode, mode, text if show else None, store)


def _name(device: NdDevice | None) -> str:
    return device.name if device is not None else ""


def _uuid(claim: Claim) -> str:
    if claim.uuid is None:
        return ""
    text = claim.uuid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _resource(claim: Claim) -> str | None:
    region = claim.dax_region if isinstance(claim, DaxClaim) else None
    return f"{region.start:#x}" if region is not None else None


def _size(claim: Claim) -> int | None:
    region = claim.dax_region if isinstance(claim, DaxClaim) else None
    return region.size if region is not None else None


def _sector_sizes(claim: Claim) -> str:
    """All of them; the chosen one is in brackets."""
    return "".join(f"[{size}] " if size == claim.sector_size else f"{size} " for size in SECTOR_SIZES)


def _badblocks(region: NdRegion) -> str:
    return "".join(f"{first} {count}\n" for first, count in region.bad_blocks())


_UEVENT: Attribute[Any] = Attribute("uevent", 0o644, 0o644, show_uevent, store_uevent)
# Of every device; of whatever is a region, or in one.
_TYPE: tuple[Attribute[Any], ...] = (
    _file("devtype", 0o444, lambda device: device.devtype),
    _file("modalias", 0o444, lambda device: device.modalias),
    _UEVENT,
)
_NODE: tuple[Attribute[Any], ...] = (
    _file("numa_node", 0o444, lambda device: device.numa_node),
    _file("target_node", 0o444, lambda device: device.target_node),
)

# /sys/bus/nd
ND_BUS_ATTRIBUTES: tuple[Attribute[NvdimmBus], ...] = (
    _file("drivers_autoprobe", 0o644, lambda bus: f"{bus.autoprobe:d}", store_nd_autoprobe),
    _file("drivers_probe", 0o200, None, store_nd_probe),
    _file("uevent", 0o200, None, store_uevent),
)
ND_DRIVER_ATTRIBUTES: tuple[Attribute[NdDriver], ...] = (
    _file("bind", 0o200, None, store_nd_bind),
    _file("uevent", 0o200, None, store_uevent),
    _file("unbind", 0o200, None, store_nd_unbind),
)

# ndbus0, its directory nfit, and nd/ndctl0
NDBUS_ATTRIBUTES: tuple[Attribute[NvdimmBus], ...] = (
    _file("commands", 0o444, lambda _: "".join(f"{command.name} " for command in COMMANDS.values())),
    _file("provider", 0o444, lambda _: "ACPI.NFIT"),
    _file("uevent", 0o644, lambda bus: bus.kobject().uevent_file().removesuffix("\n"), store_uevent),
    _file("wait_probe", 0o444, lambda _: "1"),
)
NDBUS_FIRMWARE_ATTRIBUTES: tuple[Attribute[NvdimmBus], ...] = (
    _file("dsm_mask", 0o444, lambda _: f"{FIRMWARE_MASK:#x}"),
    _file("hw_error_scrub", 0o444, lambda _: "0"),
    _file("revision", 0o444, lambda _: "1"),
    _file("scrub", 0o644, lambda bus: bus.scrubs, store_scrub),
)
CONTROL_ATTRIBUTES: tuple[Attribute[ControlDevice], ...] = (
    _file("dev", 0o444, lambda control: str(control.devt)),
    _UEVENT,
)

# nmemN and its directory nfit
DIMM_ATTRIBUTES: tuple[Attribute[Dimm], ...] = (
    *_TYPE,
    _file("available_slots", 0o444, lambda _: None),
    _file("commands", 0o444, lambda _: "cmd_call "),
    _file("dev", 0o444, lambda dimm: str(dimm.devt)),
    _file("flags", 0o444, lambda _: ""),
    _file("state", 0o444, lambda _: "idle"),
)
DIMM_FIRMWARE_ATTRIBUTES: tuple[Attribute[Dimm], ...] = (
    _file("device", 0o444, lambda _: "0x0100"),
    _file("dirty_shutdown", 0o444, lambda dimm: dimm.dirty_shutdowns),
    _file("dsm_mask", 0o444, lambda _: None),
    _file("family", 0o444, lambda _: None),
    _file("flags", 0o444, lambda _: ""),
    _file("format", 0o444, lambda _: "0x0301"),
    _file("formats", 0o444, lambda _: "1"),
    _file("handle", 0o444, lambda dimm: f"{dimm.handle:#x}"),
    _file("id", 0o444, lambda dimm: f"8680-{dimm.serial}"),
    _file("phys_id", 0o444, lambda _: "0x0"),
    _file("rev_id", 0o444, lambda _: "0x0100"),
    _file("serial", 0o444, lambda dimm: f"0x{dimm.serial}"),
    _file("subsystem_device", 0o444, lambda _: "0x0000"),
    _file("subsystem_rev_id", 0o444, lambda _: "0x0000"),
    _file("subsystem_vendor", 0o444, lambda _: "0x0000"),
    _file("vendor", 0o444, lambda _: "0x8680"),
)

# regionN and its directory nfit
ND_REGION_ATTRIBUTES: tuple[Attribute[NdRegion], ...] = (
    *_TYPE,
    *_NODE,
    _file("align", 0o644, lambda region: f"{region.align:#x}", store_region_align),
    _file("available_size", 0o444, lambda _: "0"),
    Attribute("badblocks", 0o444, 0o444, _badblocks),
    _file("btt_seed", 0o444, lambda region: _name(region.seeds.get("btt"))),
    _file("dax_seed", 0o444, lambda region: _name(region.seeds.get("dax"))),
    _file("deep_flush", 0o444, lambda _: "0", store_deep_flush),
    _file("init_namespaces", 0o444, lambda region: "1/1" if region.driver else None),
    _file("mapping0", 0o444, lambda region: f"{region.dimm.name},0,{region.size},0"),
    _file("mappings", 0o444, lambda _: "1"),
    _file("max_available_extent", 0o444, lambda _: "0"),
    _file("namespace_seed", 0o444, lambda region: _name(region.namespace)),
    _file("nstype", 0o444, lambda _: Namespace.type_number),
    _file("persistence_domain", 0o444, lambda region: region.persistence),
    _file("pfn_seed", 0o444, lambda region: _name(region.seeds.get("pfn"))),
    _file("read_only", 0o644, lambda region: f"{region.read_only:d}", store_read_only),
    _file("resource", 0o400, lambda region: f"{region.start:#x}"),
    _file("set_cookie", 0o444, lambda region: f"{region.cookie:#x}"),
    _file("size", 0o444, lambda region: region.size),
)
ND_REGION_FIRMWARE_ATTRIBUTES: tuple[Attribute[NdRegion], ...] = (
    _file("range_index", 0o444, lambda region: 2 * region.dimm.handle),
)

NAMESPACE_ATTRIBUTES: tuple[Attribute[Namespace], ...] = (
    *_TYPE,
    *_NODE,
    _file("force_raw", 0o644, lambda namespace: f"{namespace.force_raw:d}", store_force_raw),
    _file("holder", 0o444, lambda namespace: _name(namespace.claim)),
    _file("holder_class", 0o644, lambda namespace: namespace.claim.kind if namespace.claim else "", store_holder_class),
    _file("mode", 0o444, lambda namespace: namespace.mode),
    _file("nstype", 0o444, lambda namespace: namespace.type_number),
    _file("resource", 0o400, lambda namespace: f"{namespace.start:#x}"),
    _file("size", 0o444, lambda namespace: namespace.size),
)

# bttN.M; pfnN.M and daxN.M
BTT_ATTRIBUTES: tuple[Attribute[Claim], ...] = (
    *_TYPE,
    *_NODE,
    _file("log_zero_flags", 0o444, lambda _: "Y"),
    _file("namespace", 0o644, lambda claim: _name(claim.namespace), store_claim_namespace),
    _file("sector_size", 0o644, _sector_sizes, store_sector_size),
    _file("size", 0o444, _size),
    _file("uuid", 0o644, _uuid, store_claim_uuid),
)
PAGE_MAP_ATTRIBUTES: tuple[Attribute[Claim], ...] = (
    *_TYPE,
    *_NODE,
    _file("align", 0o644, lambda claim: claim.align, store_claim_align),
    _file("mode", 0o644, lambda claim: claim.mode, store_claim_mode),
    _file("namespace", 0o644, lambda claim: _name(claim.namespace), store_claim_namespace),
    _file("resource", 0o400, _resource),
    _file("size", 0o444, _size),
    _file("supported_alignments", 0o444, lambda _: "".join(f"{align} " for align in ALIGNMENTS)),
    _file("uuid", 0o644, _uuid, store_claim_uuid),
)

# block/pmemN of an enabled raw namespace
DISK_ATTRIBUTES: tuple[Attribute[Disk], ...] = (
    Attribute("badblocks", 0o444, 0o444, lambda disk: _badblocks(disk.namespace.region)),
    _file("dev", 0o444, lambda disk: str(disk.devt)),
    _file("removable", 0o444, lambda _: "0"),
    _file("ro", 0o444, lambda disk: f"{disk.namespace.region.read_only:d}"),
    _file("size", 0o444, lambda disk: disk.namespace.size // 512),
    _UEVENT,
)
