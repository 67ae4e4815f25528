"""Random sequences of operations, and which of them a real kernel survives."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import hypothesis
from hypothesis import strategies as st

from daxemu import Engine, KernelError
from daxemu.kernel.device import DevDax
from daxemu.kernel.ranges import PAGE_SIZE
from tests.oracle.emulated import answer, machine
from tests.oracle.machine import Answer
from tests.oracle.topology import Topology

__all__ = ["Plan", "operations", "operations_in", "parents", "planned", "replayed"]

M = 1 << 20
UNIT = 2 * M
DRIVER = "/sys/bus/dax/drivers/device_dax"
_DEVICES = "/sys/bus/dax/devices"
SLOTS = 8

Operation = tuple[str, *tuple[int | str, ...]]

# -- what is generated: picks are numbers, which the plan takes modulo what there is --------------

_PICK = st.integers(0, 1 << 10)
_SIZES = st.integers(0, 8).map(lambda units: str(units * UNIT)) | st.sampled_from(
    ["0", "0x200000", "67108864", "1073741824", "4096", "3145728", "-1", "2M"]
)
_ALIGNS = st.sampled_from(["2097152"] * 4 + ["4096"] * 4 + ["1073741824", "8192", "0", "big"])
_SKEWS = st.sampled_from([0] * 7 + [4096])
_WEIGHTED: tuple[tuple[int, str, tuple[st.SearchStrategy[int | str], ...]], ...] = (
    (3, "create", (_PICK, st.sampled_from(["1"] * 9 + ["0"]))),
    (6, "size", (_PICK, _SIZES)),
    (2, "align", (_PICK, _ALIGNS)),
    (5, "mapping", (_PICK, st.integers(-1, 36), st.integers(0, 3), _SKEWS, _SKEWS)),
    (8, "bind", (_PICK,)),
    (3, "unbind", (_PICK,)),
    (5, "new_id", (_PICK,)),
    (2, "remove_id", (_PICK,)),
    (3, "delete", (_PICK, _PICK)),
    (1, "drivers_probe", (_PICK,)),
    (1, "autoprobe", (st.sampled_from("01"),)),
    (6, "open", (_PICK,)),
    (1, "close", (_PICK,)),
    (9, "map", (_PICK, st.integers(1, 4), st.integers(0, 5), _SKEWS)),
    (1, "unmap", (_PICK,)),
    (20, "touch", (_PICK, st.integers(0, 4), st.sampled_from([0, 8, 4088, 4096, 2 * M - 8]))),
)
_OPERATION = st.sampled_from([n for n, (weight, *_) in enumerate(_WEIGHTED) for _ in range(weight)]).flatmap(
    lambda n: st.tuples(st.just(_WEIGHTED[n][1]), *_WEIGHTED[n][2])
)


def operations(seed: int, sequences: int, length: int) -> list[list[Operation]]:
    """Return so many sequences of so many operations, always the same for a seed."""
    found: list[list[Operation]] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=sequences,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.lists(_OPERATION, min_size=length, max_size=length))
    def collect(sequence: list[Operation]) -> None:
        found.append(sequence)

    collect()
    return found


# -- what is done -------------------------------------------------------------------------------


class Mapping(NamedTuple):
    device: DevDax
    length: int
    offset: int


def parents(topology: Topology) -> list[str]:
    """The directories in which replay.c looks for devices."""
    if not topology.dynamic:
        return [_DEVICES]
    return [f"/sys/devices/platform/hmem.{number}" for number, _ in enumerate(topology.regions)]


class Plan:
    """Goes through operations on daxemu's model, and writes down those that a real kernel survives.

    ``lines`` is the input of tests/programs/replay.c. Left out is what tests/oracle/differences.py lists.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.core = engine._core
        self.lines: list[str] = []
        self.files: dict[int, DevDax] = {}
        self.maps: dict[int, Mapping] = {}
        self.with_pages: dict[DevDax, set[int]] = {}  # by the start of their ranges: those there were when it was bound

    def do(self, operation: Operation) -> None:
        """Do one operation, unless there is nothing that it can be done to."""
        name, *arguments = operation
        getattr(self, f"_{name}")(*arguments)

    def start_afresh(self) -> None:
        """Nothing open, nothing bound, empty devices of id 0 alone; each two blocks large."""
        for slot in list(self.maps):
            self._line(f"unmap {slot}")
            del self.maps[slot]
        for slot in list(self.files):
            self._line(f"close {slot}")
            del self.files[slot]
        for device in list(self.core.bus.devices.values()):
            self._write(f"{DRIVER}/remove_id", device.name)
            if device.driver:
                self._write(f"{DRIVER}/unbind", device.name)
            self._write_to(device, "size", "0")
            self._write_to(device, "align", str(UNIT))
            self._write_to_region(device, "delete", device.name)
        for device in self.core.bus.devices.values():
            self._write_to(device, "size", str(2 * UNIT))
        self._write("/sys/bus/dax/drivers_autoprobe", "1")

    # -- picking ------------------------------------------------------------------------------

    def _device(self, pick: int) -> DevDax:
        devices = list(self.core.bus.devices.values())
        return devices[pick % len(devices)]

    def _name(self, pick: int) -> str:
        """A device's name, and at times one that there is not."""
        names = [*self.core.bus.devices, "dax0.7"]
        return names[pick % len(names)]

    @staticmethod
    def _free(slots: dict[int, object]) -> int | None:
        return next((slot for slot in range(SLOTS) if slot not in slots), None)

    def _held(self, device: DevDax) -> bool:
        """Has somebody a file of it, or a mapping that keeps one?"""
        return device in self.files.values() or any(mapping.device is device for mapping in self.maps.values())

    # -- writing ------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self.lines.append(text)

    def _write(self, path: str, text: str, seen: str = "") -> None:
        """Write an attribute, ``seen`` by programs at another path."""
        self._line(f"write {seen or path} {text}")
        with suppress(KernelError):
            self.engine.write_attribute(path, text)
        for device in self.core.bus.devices.values():
            if device.driver is None:
                self.with_pages.pop(device, None)
            else:
                self.with_pages.setdefault(device, {piece.start for piece in device.ranges})

    def _write_to(self, device: DevDax, name: str, text: str) -> None:
        self._write(f"/sys/{device.region.sysfs_parent}/{device.name}/{name}", text, f"{_DEVICES}/{device.name}/{name}")

    def _write_to_region(self, device: DevDax, name: str, text: str) -> None:
        """Where a static region has its attributes depends on the machine, and none of them can be written."""
        if not device.region.is_static:
            self._write(f"/sys/{device.region.sysfs_parent}/dax_region/{name}", text)

    def _write_that_binds(self, path: str, text: str) -> None:
        """Not while somebody has a file from before: its last close would crash."""
        if not any(device.driver is None and self._held(device) for device in self.core.bus.devices.values()):
            self._write(path, text)

    def _create(self, pick: int, text: str) -> None:
        if len(self.core.bus.devices) < 8:
            self._write_to_region(self._device(pick), "create", text)

    def _dynamic(self, pick: int) -> DevDax | None:
        """A device; one of a static region, which cannot be changed, only at times."""
        device = self._device(pick)
        return device if pick % 8 == 0 or not device.region.is_static else None

    def _size(self, pick: int, text: str) -> None:
        if device := self._dynamic(pick):
            self._write_to(device, "size", text)

    def _align(self, pick: int, text: str) -> None:
        if device := self._dynamic(pick):
            self._write_to(device, "align", text)

    def _mapping(self, pick: int, unit: int, units: int, skew: int, excess: int) -> None:
        """A misaligned start spoils a device for good once it is bound, so never those that cannot be deleted."""
        device = self._dynamic(pick)
        if device is None:
            return
        start = device.region.start + unit * UNIT + (skew if device.id else 0)
        self._write_to(device, "mapping", f"{start:#x}-{start + units * UNIT + excess - 1:#x}")

    def _bind(self, pick: int) -> None:
        self._write_that_binds(f"{DRIVER}/bind", self._name(pick))

    def _unbind(self, pick: int) -> None:
        self._write(f"{DRIVER}/unbind", self._name(pick))

    def _new_id(self, pick: int) -> None:
        self._write_that_binds(f"{DRIVER}/new_id", self._name(pick))

    def _remove_id(self, pick: int) -> None:
        self._write(f"{DRIVER}/remove_id", self._name(pick))

    def _delete(self, pick: int, whose: int) -> None:
        self._write_to_region(self._device(whose), "delete", self._name(pick))

    def _drivers_probe(self, pick: int) -> None:
        self._write_that_binds("/sys/bus/dax/drivers_probe", self._name(pick))

    def _autoprobe(self, text: str) -> None:
        self._write("/sys/bus/dax/drivers_autoprobe", text)

    # -- using --------------------------------------------------------------------------------

    def _open(self, pick: int) -> None:
        devices = list(self.core.bus.devices.values())
        likely = [device for device in devices if device.alive] * 4 + devices
        device, slot = likely[pick % len(likely)], self._free(self.files)
        stale = device.driver is None and self._held(device)
        if slot is not None and not stale:
            self._line(f"open {slot} /dev/{device.name}")
            if device.alive:
                self.files[slot] = device

    def _close(self, pick: int) -> None:
        if self.files:
            slot = list(self.files)[pick % len(self.files)]
            self._line(f"close {slot}")
            del self.files[slot]

    def _map(self, pick: int, blocks: int, at: int, excess: int) -> None:
        slot = self._free(self.maps)
        if self.files and slot is not None:
            file = list(self.files)[pick % len(self.files)]
            device = self.files[file]
            length, offset = blocks * device.align + excess, at * device.align
            self._line(f"map {slot} {file} {length} {offset}")
            if device.alive and length % device.align == 0:
                self.maps[slot] = Mapping(device, length, offset)

    def _unmap(self, pick: int) -> None:
        if self.maps:
            slot = list(self.maps)[pick % len(self.maps)]
            self._line(f"unmap {slot}")
            del self.maps[slot]

    def _touch(self, pick: int, block: int, within: int) -> None:
        if self.maps:
            slot = list(self.maps)[pick % len(self.maps)]
            mapping = self.maps[slot]
            at = (block * mapping.device.align + within % mapping.device.align) % mapping.length
            if self._has_pages(mapping, at):
                self._line(f"touch {slot} {at}")

    def _has_pages(self, mapping: Mapping, at: int) -> bool:
        """Is the block there refused, or else one that has page structures and the device's alignment?"""
        device = mapping.device
        if not device.alive:
            return True
        page = (mapping.offset + at) // device.align * (device.align // PAGE_SIZE)
        for piece in device.ranges:
            if piece.pgoff <= page < piece.pgoff + piece.pages:
                phys = piece.start + (page - piece.pgoff) * PAGE_SIZE
                return piece.start in self.with_pages[device] and phys % device.align == 0
        return True


def planned(kernel: str, topology: Topology, seed: int, sequences: int, length: int) -> list[str]:
    """The lines of a plan of random sequences, each started afresh."""
    with machine(kernel, topology) as engine:
        plan = Plan(engine)
        for sequence in operations(seed, sequences, length):
            plan.start_afresh()
            for operation in sequence:
                plan.do(operation)
        return plan.lines


def replayed(executable: Path, kernel: str, topology: Topology, lines: Iterable[str]) -> Answer:
    """What replay.c sees under daxemu."""
    with machine(kernel, topology) as engine:
        return answer(engine, [executable, *parents(topology)], "".join(f"{line}\n" for line in lines))


def operations_in(transcript: str) -> list[str]:
    """The lines that made replay.c say this."""
    return [line.split(" ", 1)[1].rpartition(": ")[0] for line in transcript.splitlines() if line[:1].isdigit()]
