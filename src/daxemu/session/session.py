"""A session: the projection of one engine for other processes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from daxemu.backing import BackingFile
from daxemu.backing.memory import RegionMemory
from daxemu.errors import KernelError
from daxemu.kernel.bus import DaxBus
from daxemu.kernel.device import DevDax
from daxemu.kernel.flavour import Flavour
from daxemu.kernel.ids import Devt
from daxemu.kernel.kmsg import mmap_refused
from daxemu.kernel.memory import Memory, MemoryBlock, NumaNode
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.region import DaxRegion
from daxemu.session import layout
from daxemu.session.directory import SessionDirectory, sweep
from daxemu.session.projection import Projection
from daxemu.session.server import Handlers, Server
from daxemu.session.table import Table
from daxemu.sysfs.directory import File, Tree

if TYPE_CHECKING:
    import logging

    from daxemu.kernel.core import DaxCore
    from daxemu.sysfs.machine import Machine

__all__ = ["PRELOAD_LIBRARY", "Session", "session_environ"]

PRELOAD_LIBRARY = Path(__file__).parents[1] / "libdaxemu-preload.so"


def _log() -> logging.Logger:
    """Something to report is rare, and importing logging takes a tenth of a start."""
    import logging

    return logging.getLogger("daxemu")


def session_environ(path: Path) -> dict[str, str]:
    """Return the two variables by which a program finds the session there; an LD_PRELOAD that is set stays behind ours.

    The loader splits LD_PRELOAD at blanks and colons: a library below such a path gets a link in the session.
    """
    library = PRELOAD_LIBRARY
    if set(" :\t\n") & set(str(library)):
        library = path / library.name
        with suppress(FileExistsError):
            library.symlink_to(PRELOAD_LIBRARY)
    preload = [str(library), *os.environ.get("LD_PRELOAD", "").split()]
    return {"DAXEMU_SESSION": str(path), "LD_PRELOAD": " ".join(dict.fromkeys(preload))}


def _nodes(names: Iterable[str]) -> Tree:
    return {f"dev/{name}": File(0o600, "") for name in names}


class Session:
    """Directory, table, tree and server. Made when the first program is started; the engine tells it what changes."""

    def __init__(self, *, major: int, flavour: Flavour, handlers: Handlers, name: str | None = None) -> None:
        sweep()
        self._directory = SessionDirectory(name)
        self.path = self._directory.path
        self._projection = Projection(self.path)
        self._projecting = True
        self._shows_tree = False
        self._table = Table(self.path / "table", major=major, flavour=flavour)
        self._devices: dict[int, DevDax] = {}
        self._others: dict[str, dict[tuple[str, Devt, bool], int]] = {}  # slots of the table, by whose and which
        self._aliases: dict[int, int] = {}  # descriptors by slot of the table
        self._server = Server(self.path / "sock", self._backing_fd, self._register_alias, handlers, self._refused)
        self._machine: Machine | None = None

    def environ(self) -> dict[str, str]:
        """Return the two variables by which a program finds the devices."""
        return session_environ(self.path)

    # -- requests; in the server's thread -------------------------------------------------------

    def _backing_fd(self, minor: int) -> int:
        device = self._devices.get(minor)
        if device is None or not device.alive:
            raise KernelError(errno.ENXIO, f"no device has minor {minor}")
        assert isinstance(device.backing, BackingFile)
        return device.backing.fd

    def _refused(self, minor: int, comm: str, why: Mapping[str, int]) -> None:
        device = self._devices.get(minor)
        if device is not None:
            shared = why["reason"] != layout.REFUSED_PRIVATE
            mmap_refused(device, comm, shared=shared, start=why["start"], end=why["end"])

    def _register_alias(self, minor: int, fd: int) -> None:
        for slot, held in list(self._aliases.items()):
            if os.fstat(held).st_nlink == 0:
                self._table.clear_alias(slot)
                os.close(self._aliases.pop(slot))
        status = os.fstat(fd)
        try:
            held = os.dup(fd)  # while it is held, no other file gets the same inode number
            self._aliases[self._table.add_alias(minor, (status.st_dev, status.st_ino))] = held
        except OSError as error:
            raise KernelError(error.errno or errno.ENOSPC, f"no room for an alias: {error.strerror}") from error

    def set_asks(self, asks: int) -> None:
        """Have clients ask before they do what ``layout.ASK_…`` names."""
        self._table.set_asks(asks)

    # -- what the engine tells ----------------------------------------------------------------

    def show(self, core: DaxCore) -> None:
        """Show all that there is: nodes in /dev, and the files below /sys if a program has looked there."""
        self.show_bus(core.bus)
        for nvdimm in core.nvdimm.regions.values() if core.nvdimm is not None else ():
            self.show_nvdimm(nvdimm)
        for region in core.regions.values():
            self.show_region(region)
        for device in core.bus.devices.values():
            self.show_device(device)

    def show_tree(self, core: DaxCore) -> None:
        """Show the files below /sys; from then on they are kept up to date."""
        if self._shows_tree:
            return
        self._shows_tree = True
        try:
            # Their directories are there from the start: a listing of the one above must name them.
            self._project({"machine": {f"{path[1:]}/": File(0o755, "") for path in layout.SHOWN_ON_DEMAND}})
            self.show(core)
        except BaseException:
            self._shows_tree = False
            raise
        self._table.set_shows_tree()

    def _project(self, parts: Mapping[str, Tree]) -> None:
        if self._projecting:
            self._projection.update(parts)

    def show_bus(self, bus: DaxBus) -> None:
        """Show the bus and its drivers."""
        if self._shows_tree:
            from daxemu.sysfs.tree import bus_tree

            self._project({"bus": bus_tree(bus)})

    def show_region(self, region: DaxRegion) -> None:
        """Show a region as it is now, or that it is gone."""
        self._project(self._region_part(region))

    def _region_part(self, region: DaxRegion) -> dict[str, Tree]:
        if not self._shows_tree:
            return {}
        from daxemu.sysfs.tree import region_tree

        return {f"region{region.id}": region_tree(region) if region.published else {}}

    def _device_part(self, device: DevDax) -> dict[str, Tree]:
        tree = _nodes([device.name] if device.registered else [])
        if device.registered and self._shows_tree:
            from daxemu.sysfs.tree import device_tree

            tree |= device_tree(device)
        return {device.name: tree}

    def show_nvdimm(self, region: NdRegion) -> None:
        """Show a region of an NVDIMM with its module and namespace, and the bus, as they are now."""
        if not self._projecting:
            return
        bus = region.bus
        control = [(bus.control.name, bus.control.devt, False)] if bus.regions else []
        nodes = list(region.nodes()) if region.published else []
        bus_part, region_part = (_nodes(name for name, _, _ in of) for of in (control, nodes))
        if self._shows_tree:
            from daxemu.sysfs.nvdimm import nvdimm_bus_tree, nvdimm_region_tree

            bus_part |= nvdimm_bus_tree(bus) if bus.regions else {}
            region_part |= nvdimm_region_tree(region) if region.published else {}
        self._projection.update({"nd bus": bus_part, f"nd region{region.id}": region_part})
        self._show_others("nd bus", control, (0, 0))
        assert isinstance(region.memory, RegionMemory)
        self._show_others(region.name, nodes, region.memory.identity if len(nodes) > 1 else (0, 0))

    def _show_others(self, owner: str, nodes: list[tuple[str, Devt, bool]], memory: tuple[int, int]) -> None:
        """Have the table tell of nodes that are none of a dax device."""
        shown = self._others.setdefault(owner, {})
        for node, slot in list(shown.items()):
            if node not in nodes:
                self._table.clear_other(slot)
                del shown[node]
        for node in nodes:
            if node not in shown:
                name, devt, block = node
                status = (self.path / "dev" / name).stat()
                identity = status.st_dev, status.st_ino
                shown[node] = self._table.set_other(identity, devt, block=block, memory=memory if block else (0, 0))
        if not shown:
            del self._others[owner]

    def show_device(self, device: DevDax) -> None:
        """Show a device, with its region's attributes, as it is now, or that it is gone.

        A failure leaves what was shown before. Only what says that a device is dead or gone goes
        on after one: programs must not use it any longer, even if a file still tells of it.
        """
        if device.devt.minor not in self._devices:
            self._table.check_room(device.devt.minor)
        try:
            self._project(self._device_part(device) | self._region_part(device.region))
        except OSError:
            if device.alive:
                raise
            _log().exception("%s: its files could not be updated", device.name)
        if not device.registered:
            self._table.clear_device(device.devt.minor)
            self._devices.pop(device.devt.minor, None)
        else:
            self._enter(device)

    def _enter(self, device: DevDax) -> None:
        """Write a device's rows of the table."""
        minor = device.devt.minor
        assert isinstance(device.backing, BackingFile)
        self._table.set_poison(minor, device.poisoned_blocks, device.scattered_blocks)
        self._devices[minor] = device
        self._table.set_device(
            minor,
            alive=device.alive,
            movable=device.backing.movable,
            read_only=device.read_only,
            identity=device.backing.identity,
            size=device.size,
            align=device.align,
            region=device.region.id,
            id=device.id,
        )
        try:
            node = (self.path / "dev" / device.name).stat()
        except FileNotFoundError:  # a program has unlinked its node, as it may
            return
        self._table.set_node(minor, (node.st_dev, node.st_ino))

    def show_machine(self, memory: Memory) -> None:
        """Show memory and nodes, the machine's own as they are now; from then on they are kept up to date."""
        from daxemu.sysfs.machine import read_machine

        if self._projecting:
            self._machine = read_machine()
            parts = self._memory_parts(memory, memory.nodes)
            for block in memory.blocks.values():
                parts |= self._block_part(block)
            self._projection.update(parts)

    def show_memory(self, subject: Memory | MemoryBlock) -> None:
        """Show a block, with its node, as it is now, or that it is gone; or what is about all memory."""
        if self._machine is None or not self._projecting:
            return
        if isinstance(subject, MemoryBlock):
            parts = self._memory_parts(subject.memory, [subject.node]) | self._block_part(subject)
        else:
            parts = self._memory_parts(subject, [])
        self._projection.update(parts)

    def _memory_parts(self, memory: Memory, nodes: Iterable[int]) -> dict[str, Tree]:
        from daxemu.sysfs.memory import memory_tree, node_tree, nodes_tree

        assert self._machine is not None
        parts = {"memory": memory_tree(memory), "nodes": nodes_tree(memory, self._machine)}
        for node in nodes:
            there = node in memory.nodes
            parts[f"node{node}"] = node_tree(NumaNode(memory, node), self._machine) if there else {}
        return parts

    @staticmethod
    def _block_part(block: MemoryBlock) -> dict[str, Tree]:
        from daxemu.sysfs.memory import block_tree

        return {block.name: block_tree(block) if block.present else {}}

    def synchronise(self, device: DevDax) -> bool:
        """Revoke or restore the device's mappings in every process, as the table says; False if one has not done it."""
        assert isinstance(device.backing, BackingFile)
        late = self._server.agents.synchronise(device.devt.minor, device.backing.identity[1])
        verb = "restore" if device.alive else "revoke"
        for line in late:
            _log().warning("%s: asked to %s its mappings: %s", device.name, verb, line)
        return not late

    def have_joined(self, device: DevDax) -> list[str]:
        """Have programs take part in a recording that has begun; return a line about each that runs and has not."""
        assert isinstance(device.backing, BackingFile)
        self._table.count_recording()
        return self._server.agents.synchronise(device.devt.minor, device.backing.identity[1])

    def set_check(self, device: DevDax, part: tuple[int, int], by: int = 0) -> None:
        """Have the next ``synchronise`` tell processes that asked to be told early of broken memory, but for ``by``."""
        self._table.set_check(device.devt.minor, *part, by)

    def stop_projecting(self) -> None:
        """From now on only the table tells of changes: the tree is about to be removed as a whole."""
        self._projecting = self._shows_tree = False

    def mappers(self) -> Iterable[int]:
        """Ids of the processes that map devices."""
        return self._server.agents.pids

    def close(self) -> None:
        """End in order: programs that still run see their devices gone, nothing stays behind."""
        self._table.close()
        self._server.close()
        for fd in self._aliases.values():
            os.close(fd)
        self._directory.remove()
