"""A machine in plain values, and from them again."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from daxemu.backing.memory import DeviceMemory, RegionMemory
from daxemu.errors import UsageError
from daxemu.kernel.hotplug import Absent
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.ports import Event
from daxemu.kernel.providers import find_provider
from daxemu.kernel.record import record_region, restore_region
from daxemu.plugins import find_store
from daxemu.state.directory import StateDirectory

if TYPE_CHECKING:
    from daxemu.engine import Engine
    from daxemu.kernel.region import DaxRegion as KernelRegion
    from daxemu.region import DaxRegion, Plug

__all__ = ["MachineState"]


class MachineState:
    """What an engine keeps in a directory. Raises as ``StateDirectory``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._directory = StateDirectory(path)
        saved = self._directory.saved
        self.kernel: str | None = None if saved is None else str(saved.get("kernel"))
        self.drivers: list[str] | None = None if saved is None else saved.get("drivers")

    @property
    def backend(self) -> str:
        """The backing store of its devices."""
        return f"file:{self._directory.memory}"

    def save(self, engine: Engine) -> None:
        """Keep what the engine has now. OSError: it could not be written, and what was kept before is."""
        self._directory.save(_record_machine(engine), _memory_files(engine))

    def restore(self, engine: Engine) -> None:
        """Make everything again in an engine that has nothing yet. UsageError: that cannot be."""
        saved = self._directory.saved
        if saved is None:
            return
        try:
            _restore_machine(engine, saved)
        except (OSError, KeyError, TypeError, ValueError, AssertionError) as error:
            raise UsageError(
                f"{self._directory.path}/state.json is no state that can be restored ({error!r}); "
                "move it away to begin anew"
            ) from error

    def close(self) -> None:
        """Let another engine have it."""
        self._directory.close()


def _kept(engine: Engine) -> list[DaxRegion]:
    """Regions that are there, or will return."""
    found = [region for region in engine._regions.values() if region._hardware.published or region._unplugged]
    return sorted(found, key=lambda region: region._hardware.id)


def _absent_devices(region: DaxRegion) -> list[dict[str, Any]]:
    """Devices that were pulled out of a region: after a restart they are back."""
    absent = [facade._absent for facade in region._facades.values() if isinstance(facade._absent, Absent)]
    return [
        {
            "id": entry.id,
            "align": entry.align,
            "memmap_on_memory": entry.memmap_on_memory,
            "read_only": False,
            "driver": entry.driver,
            "ranges": [[piece.start, piece.end] for piece in entry.pieces],
        }
        for entry in absent
    ]


def _record_region(engine: Engine, region: DaxRegion) -> dict[str, Any]:
    assert region._plug is not None
    arguments = region._plug.keywords
    memory = engine._wiring.memories[arguments["start"]]
    record: dict[str, Any] = {
        "id": region._hardware.id,
        "provider": region._plug.args[0].name if region._plug.args else "pmem",
        "arguments": arguments,
        "backend": region._backend,
        "scrub": memory.scrub,
        "reserve": memory.reserve,
        "unplugged": region._unplugged,
        "badblocks": [list(part) for part in region._hardware.badblocks.parts],
    }
    if isinstance(region._hardware, NdRegion):
        dax = region._hardware.dax_region()
        drivers = [device.driver.name if device.driver else "none" for device in dax.children.values()] if dax else []
        return record | {"driver": drivers[0] if drivers else "auto"}
    devices = record_region(region._hardware)
    return record | devices | {"devices": devices["devices"] + _absent_devices(region)}


def _record_machine(engine: Engine) -> dict[str, Any]:
    """All that an engine has, as values that JSON knows."""
    core = engine._core
    return {
        "kernel": core.flavour.name,
        "drivers": list(core.driver_names),
        "autoprobe": core.bus.autoprobe,
        "ids": {name: sorted(driver.ids) for name, driver in core.bus.drivers.items()},
        "next_start": engine._next_start,
        "regions": [_record_region(engine, region) for region in _kept(engine)],
    }


def _memory_files(engine: Engine) -> list[str]:
    """Names of the files that have the machine's bytes."""
    names = [*engine._core.bus.devices]
    for region in _kept(engine):
        assert region._plug is not None
        names.append(engine._wiring.memories[region._plug.keywords["start"]].label)
        names += [f"dax{region._hardware.id}.{entry['id']}" for entry in _absent_devices(region)]
    return names


def _restore_machine(engine: Engine, saved: dict[str, Any]) -> None:
    """Make everything again in an engine that has nothing yet. Raises what making it raises."""
    core = engine._core
    gaps: list[int] = []
    for record in saved["regions"]:
        gaps += [core.region_ida.take(n) for n in range(record["id"]) if n not in core.region_ida]
        _restore_region(engine, record)
    for number in gaps:
        core.region_ida.free(number)
    core.bus.autoprobe = saved["autoprobe"]
    for name, ids in saved["ids"].items():
        core.bus.drivers[name].ids = set(ids)
    engine._next_start = saved["next_start"]


def _restore_region(engine: Engine, record: dict[str, Any]) -> None:
    arguments = record["arguments"]
    start, total = arguments["start"], arguments.get("raw") or arguments["size"]
    store = find_store(record["backend"])
    memory = RegionMemory(store, f"region-{start:x}", start, total, scrub=record["scrub"], reserve=record["reserve"])
    memory.restore()
    engine._wiring.memories[start] = memory
    plug: Plug
    region: KernelRegion | NdRegion
    if "raw" in arguments:
        plug = nd_plug = partial(engine._nvdimm_bus(engine._core).add_region, **arguments)
        region = nd_plug(driver=record["driver"])
        memory.restoring = False
    else:
        provider = find_provider(record["provider"], engine._core.flavour)
        plug = dax_plug = partial(engine._core.add_region, provider, **arguments)
        region = _restore_devices(dax_plug(idle=True, driver="none"), memory, record)
    facade = engine._facade(region)
    facade._plug, facade._backend = plug, record["backend"]
    region.badblocks.parts = [(first, last) for first, last in record["badblocks"]]
    for device in engine._core.bus.devices.values():
        if device.region.start >= start and device.poison:
            engine._core.publish(Event("poison", device))
    if record["unplugged"]:
        facade.unplug()


def _restore_devices(region: KernelRegion, memory: RegionMemory, record: dict[str, Any]) -> KernelRegion:
    """Make an empty region's devices; what they hold, when it is known where it belongs; last their drivers."""
    made = restore_region(region, record)
    for device, _ in made:
        assert isinstance(device.backing, DeviceMemory)
        device.backing.recover()
    memory.restoring = False
    for device, driver in made:
        if device.size:
            region.core.hand_over(device, driver)
    return region
