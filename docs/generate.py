"""Write the parts of the reference that are made from the code: ``python docs/generate.py [--check]``.

A page keeps its hand-written text; what lies between ``<!-- generated: NAME -->`` and
``<!-- end -->`` is replaced by what the function of that name in ``PARTS`` returns. ``PICTURES`` are whole files.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, get_type_hints

import click

import daxemu
import daxemu.cli._group
from daxemu import backing, hookspecs, pytest_plugin
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.flavour import FLAVOURS, QUIRKS
from daxemu.kernel.memory import BootNodes, MemoryBlock
from daxemu.kernel.nvdimm.bus import NvdimmBus
from daxemu.kernel.nvdimm.region import NdRegion
from daxemu.kernel.ports import Event
from daxemu.kernel.providers import find_provider
from daxemu.kernel.uevent import Uevent
from daxemu.pmem import Recording, explore
from daxemu.pmem.sites import Sites
from daxemu.pmem.timeline import timeline
from daxemu.sysfs import attributes, memory
from daxemu.sysfs import nvdimm_attributes as nd
from daxemu.sysfs.directory import File
from daxemu.sysfs.tree import bus_tree

__all__ = ["PARTS", "PICTURES", "REFERENCE", "updated"]

REFERENCE = Path(__file__).parent / "reference"


def _table(*rows: Iterable[str]) -> str:
    head, *body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    rule = " | ".join("---" for _ in head.split(" | "))
    return "\n".join(f"| {row} |" for row in (head, rule, *body))


def _prose(documented: object) -> str:
    """A docstring as Markdown."""
    return (inspect.getdoc(documented) or "").replace("``", "`")


# -- pictures ------------------------------------------------------------------------------------


def crash_states() -> str:
    """The timeline of the first wrong program on the page of crash states."""

    def workload(memory: daxemu.DaxMapping) -> None:
        memory[64:70] = b"value!"
        memory.flush(64, 6)
        memory[0] = 1
        memory.persist(0, 1)

    with tempfile.TemporaryDirectory() as temporary, daxemu.Engine() as engine:
        device, directory = engine.add_region("4M").devices[0], Path(temporary, "recording")
        with device.open() as file, file.mmap() as memory, device.record(directory):
            workload(memory)
        with Recording(directory) as recording:
            result = explore(recording, lambda memory: memory[0] == 0 or memory[64] != 0)
            drawn = timeline(recording, result.failures)[0].svg(result.failures, Sites([]))
    return re.sub("<title>.*?</title>", "", drawn)


PICTURES = {Path(__file__).parent / "how-to" / "crash-states.svg": crash_states}


# -- attributes ---------------------------------------------------------------------------------


class _Nowhere:
    """The outside of a model that is only looked at."""

    _written = b""

    def create_backing(self, device: DevDax) -> _Nowhere:  # noqa: ARG002
        return self

    def create_memory(self, region: NdRegion) -> _Nowhere:  # noqa: ARG002
        return self

    def read(self, offset: int, size: int) -> bytes:  # noqa: ARG002
        return self._written.ljust(size, b"\0")

    def write(self, offset: int, data: bytes) -> None:  # noqa: ARG002
        self._written = data

    def publish(self, event: Event) -> None:
        pass

    def boot_nodes(self) -> BootNodes:
        return BootNodes(frozenset({0}), frozenset({0}))

    def uevent(self, event: Uevent) -> None:
        pass

    def log(self, level: int, text: str) -> None:
        pass

    def resize(self, size: int) -> None:
        pass

    def close(self) -> None:
        pass


def _sample() -> DevDax:
    """The second device, 1 GiB, of a dynamic region of 2 GiB."""
    core = DaxCore(_Nowhere())
    core.boot()
    region = core.add_region(find_provider("hmem"), start=1 << 44, size=2 << 30, align=2 << 20, idle=True)
    return core.create_device(region, 1 << 30)


def _attribute_rows(table: Iterable[Any], subject: object) -> Iterator[tuple[str, ...]]:
    yield "Attribute", "Mode, dynamic region", "Mode, static region", "Read", "Write"
    for attribute in table:
        static = attribute.static_mode
        text = attribute.show(subject) if attribute.show else None
        shown = None if text is None else text.rstrip("\n")
        value = "<br>".join(f"`{line}`" for line in shown.split("\n")) if shown else "an empty line"
        writable = attribute.mode & 0o222
        yield (
            f"`{attribute.name}`",
            f"{attribute.mode:04o}",
            "absent" if static is None else f"{static:04o}",
            "EACCES" if shown is None else value,
            "EACCES" if not writable else "yes" if getattr(attribute, "store", None) else "not yet: EACCES",
        )


def region_attributes() -> str:
    """Attributes of a region."""
    return _table(*_attribute_rows(attributes.REGION_ATTRIBUTES, _sample().region))


def device_attributes() -> str:
    """Attributes of a device."""
    return _table(*_attribute_rows(attributes.DEVICE_ATTRIBUTES, _sample()))


def mapping_attributes() -> str:
    """Attributes of one of a device's ranges."""
    return _table(*_attribute_rows(attributes.MAPPING_ATTRIBUTES, _sample().mappings()[0]))


def bus_files() -> str:
    """Files of the bus, its drivers and modules."""
    rows = [
        (f"`/{path}`", f"{entry.mode:04o}", f"`{entry.text.rstrip()}`" if entry.mode & 0o444 else "EACCES")
        for path, entry in sorted(bus_tree(_sample().core.bus).items())
        if isinstance(entry, File) and not path.endswith("/")
    ]
    return _table(("File", "Mode", "Read"), *rows)


def flavours() -> str:
    """Every quirk and which kernels have it."""
    rows = [
        (f"`{name}`", *("yes" if getattr(flavour, name) else "no" for flavour in FLAVOURS.values()), sentence)
        for name, sentence in QUIRKS.items()
    ]
    return _table(("Quirk", *FLAVOURS, "What it means"), *rows)


def _memory_sample() -> MemoryBlock:
    """The first block of a device of 1 GiB on a node of its own; one block of it is online."""
    core = DaxCore(_Nowhere())
    core.boot()
    core.memory.set_auto_online("offline")
    core.add_region(find_provider("hmem"), start=1 << 44, size=1 << 30, align=2 << 20, target_node=1, driver="kmem")
    first, *_ = core.memory.blocks.values()
    core.memory.online(first, "online_movable")
    return first


def _system_rows(table: Iterable[Any], subject: object) -> Iterator[tuple[str, ...]]:
    for name, mode, _, shown, written in islice(_attribute_rows(table, subject), 1, None):
        yield name, mode, shown, written


def memory_files() -> str:
    """Files of memory blocks, and of the directory they are in."""
    block = _memory_sample()
    return _table(
        ("File", "Mode", "Read", "Write"),
        *_system_rows(memory.MEMORY_ATTRIBUTES, block.memory),
        *((row[0].replace("`", "`memoryN/", 1), *row[1:]) for row in _system_rows(memory.BLOCK_ATTRIBUTES, block)),
    )


def _nvdimm_sample() -> NdRegion:
    """The region of an NVDIMM of 256 MiB at 4 GiB, its namespace in devdax mode."""
    core = DaxCore(_Nowhere())
    core.boot()
    core.nvdimm = NvdimmBus(core, control_major=245, dimm_major=244)
    return core.nvdimm.add_region(start=4 << 30, raw=256 << 20, align=2 << 20)


def nvdimm_files() -> str:
    """Files of the nvdimm bus and of what is on it."""
    region = _nvdimm_sample()
    claims, namespace = region.claims, region.namespace
    parts = [
        ("ndbus0", nd.NDBUS_ATTRIBUTES, region.bus),
        ("ndbus0/nfit", nd.NDBUS_FIRMWARE_ATTRIBUTES, region.bus),
        ("nmem0", nd.DIMM_ATTRIBUTES, region.dimm),
        ("nmem0/nfit", nd.DIMM_FIRMWARE_ATTRIBUTES, region.dimm),
        ("region0", nd.ND_REGION_ATTRIBUTES, region),
        ("namespace0.0", nd.NAMESPACE_ATTRIBUTES, namespace),
        ("btt0.0", nd.BTT_ATTRIBUTES, claims["btt0.0"]),
        ("dax0.0", nd.PAGE_MAP_ATTRIBUTES, claims["dax0.0"]),
    ]
    rows = [
        (row[0].replace("`", f"`{name}/", 1), *row[1:])
        for name, table, subject in parts
        for row in _system_rows(table, subject)
    ]
    text = _table(("File", "Mode", "Read", "Write"), *rows)
    return re.sub(r"`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`", "a random uuid", text)


# -- command line -------------------------------------------------------------------------------


def _help(*command: str) -> str:
    start = "import sys; sys.argv[0] = 'daxemu'; from daxemu.cli import main; main()"
    line = [sys.executable, "-c", start, *command, "--help"]
    environment = os.environ | {"COLUMNS": "80"}
    return subprocess.run(line, capture_output=True, text=True, check=True, env=environment).stdout.rstrip()


def _paths() -> Iterator[list[str]]:
    """Every command, groups before what is in them."""
    root = click.Context(daxemu.cli._group.daxemu)
    for name in daxemu.cli.COMMANDS:
        yield [name]
        command = daxemu.cli._group.daxemu.get_command(root, name)
        if isinstance(command, click.Group):
            yield from ([name, below] for below in command.commands)


def commands() -> str:
    """``--help`` of the command and of each subcommand."""
    lines = [["daxemu"], *(["daxemu", *path] for path in _paths())]
    return "\n\n".join(f"## {' '.join(line)}\n\n```text\n{_help(*line[1:])}\n```" for line in lines)


# -- Python -------------------------------------------------------------------------------------


def _signature(function: Callable[..., Any]) -> str:
    """A signature with its annotations as they are written, without self."""
    signature = inspect.signature(function)
    parts: list[str] = []
    for p in signature.parameters.values():
        if p.name in ("self", "cls"):
            continue
        if p.kind is p.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        stars = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        default = "" if p.default is p.empty else f" = {p.default!r}"
        parts.append(f"{stars}{p.name}: {p.annotation}{default}")
    returned = "" if signature.return_annotation in (None, "None") else f" -> {signature.return_annotation}"
    return f"({', '.join(parts)}){returned}"


def _fields(cls: Any) -> str:
    """How a named tuple is made."""
    types = get_type_hints(cls)
    defaults = {name: f" = {value!r}" for name, value in cls._field_defaults.items()}
    fields = [f"{name}: {types[name].__name__}{defaults.get(name, '')}" for name in cls._fields]
    return f"({', '.join(fields)})"


# Made by users; all other objects come from a method of another one.
_CONSTRUCTIBLE = {"Engine", "Probe"}

# The engine's own machinery, without an underscore because other modules use it.
_INTERNAL = {"create_backing", "publish", "maps"}


def _members(cls: type) -> Iterator[str]:
    """Properties, then methods; those that all who start programs have only with the engine."""
    found = [
        a
        for a in inspect.classify_class_attrs(cls)
        if a.defining_class.__module__.startswith("daxemu.") and a.name[0] != "_" and a.name not in _INTERNAL
    ]
    lines, methods = [], []
    for a in found:
        function = getattr(a.object, "__func__", a.object)
        if isinstance(a.object, property):
            lines.append(
                f"* `{a.name}: {inspect.signature(a.object.fget or len).return_annotation}` — {_prose(a.object)}"
            )
        elif inspect.isfunction(function) and a.defining_class is not cls and cls is not daxemu.Engine:
            lines.append(f"* `{a.name}(…)` — as `Engine.{a.name}`")
        elif inspect.isfunction(function):
            methods.append(f"#### `{cls.__name__}.{a.name}{_signature(function)}`\n\n{_prose(function)}")
    yield "\n".join(lines)
    yield from methods


def _class(cls: type) -> str:
    heading = cls.__name__
    if issubclass(cls, Exception):
        heading += f"({', '.join(base.__name__ for base in cls.__bases__)})"
    elif cls.__name__ in _CONSTRUCTIBLE:
        heading += _fields(cls) if issubclass(cls, tuple) else _signature(cls.__init__)
    return "\n\n".join(filter(None, [f"### `{heading}`", _prose(cls), *_members(cls)]))


def python_api() -> str:
    """Every public class, the engine first."""
    classes = [getattr(daxemu, name) for name in daxemu.__all__ if inspect.isclass(getattr(daxemu, name))]
    order = ["Engine", "DaxRegion", "DaxDevice", "DaxFile", "DaxMapping", "DaxMemory", "DaxemuError"]
    classes.sort(key=lambda cls: order.index(cls.__name__) if cls.__name__ in order else len(order))
    return "\n\n".join(map(_class, classes))


def hooks() -> str:
    """Every hook with its signature."""
    specs = [value for value in vars(hookspecs).values() if hasattr(value, f"{hookspecs.PROJECT}_spec")]
    return "\n\n".join(f"## `{spec.__name__}{_signature(spec)}`\n\n{_prose(spec)}" for spec in specs)


def backing_store() -> str:
    """The interface of a backing store."""
    return "\n\n".join(map(_class, (backing.BackingStore, backing.Probe)))


def fixtures() -> str:
    """Every fixture: read from the source, as pytest hides what it wraps."""
    source = ast.parse(inspect.getsource(pytest_plugin))
    parts = []
    for node in source.body:
        if isinstance(node, ast.FunctionDef) and any("pytest.fixture" in ast.unparse(d) for d in node.decorator_list):
            returned = re.sub(r"^Iterator\[(.*)\]$", r"\1", ast.unparse(node.returns)) if node.returns else ""
            text = (ast.get_docstring(node) or "").replace("``", "`")
            parts.append(f"### `{node.name}` → `{returned}`\n\n{text}")
    return "\n\n".join(parts)


def settings() -> str:
    """Every setting in its three places."""
    rows = [
        (f"`{name}=`", f"`--daxemu-{name}`", f"`daxemu_{name}`", f"`{default}`", text)
        for name, (default, text) in pytest_plugin._SETTINGS.items()
    ]
    return _table(("Marker", "Option", "ini key", "Default", "What"), *rows)


# -- pages --------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        region_attributes,
        device_attributes,
        mapping_attributes,
        bus_files,
        memory_files,
        nvdimm_files,
        flavours,
        commands,
        python_api,
        hooks,
        backing_store,
        fixtures,
        settings,
    )
}

_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def updated(text: str) -> str:
    """Return a page's text with every generated part made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def main() -> None:
    """Write the pages, or with ``--check`` name those that are out of date."""
    pages = {page: updated(page.read_text()) for page in sorted(REFERENCE.glob("*.md"))}
    pictures = {path: draw() for path, draw in PICTURES.items()}
    stale = {path: text for path, text in (pages | pictures).items() if not path.exists() or path.read_text() != text}
    for page, text in stale.items():
        if "--check" not in sys.argv:
            page.write_text(text)
        print(f"{'out of date' if '--check' in sys.argv else 'written'}: {page}")
    sys.exit(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    main()
