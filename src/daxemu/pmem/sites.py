"""Addresses in a recorded program as file and line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from elftools.common.exceptions import DWARFError, ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from daxemu.pmem.modules import SOURCES

if TYPE_CHECKING:
    from daxemu.pmem.reader import Module

__all__ = ["Sites"]


class _Row(NamedTuple):
    """From this address on, up to that of the next row; an empty name: nothing is known."""

    address: int
    name: str


class _Program:
    """Lines and functions of an ELF file, as far as it has them."""

    def __init__(self, path: str) -> None:
        self.segments: list[tuple[int, int, int]] = []  # offset in the file, size, address
        self.lines: list[_Row] = []
        self.functions: list[_Row] = []
        with suppress(OSError, ELFError, DWARFError), open(path, "rb") as file:  # noqa: PTH123
            elf = ELFFile(file)
            self.segments = [
                (s["p_offset"], s["p_filesz"], s["p_vaddr"]) for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"
            ]
            self.functions = sorted(_functions(elf))
            if elf.has_dwarf_info():
                self.lines = sorted(_lines(elf.get_dwarf_info()), key=lambda row: (row.address, bool(row.name)))

    def name(self, offset: int) -> str:
        """What is at this offset in the file; empty if it is not known."""
        for begin, size, address in self.segments:
            if begin <= offset < begin + size:
                at = offset - begin + address
                line, function = _before(self.lines, at), _before(self.functions, at)
                return line.name or (f"{function.name}+{at - function.address:#x}" if function.name else "")
        return ""


def _before(rows: list[_Row], address: int) -> _Row:
    at = bisect_right(rows, address, key=lambda row: row.address)
    return rows[at - 1] if at else _Row(0, "")


def _functions(elf: ELFFile) -> Iterable[_Row]:
    for section in elf.iter_sections():
        for symbol in section.iter_symbols() if isinstance(section, SymbolTableSection) else ():
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_value"]:
                yield _Row(symbol["st_value"], symbol.name)
                yield _Row(symbol["st_value"] + symbol["st_size"], "")  # no name is better than that of the last one


def _lines(dwarf: Any) -> Iterable[_Row]:
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        first = 0 if program["version"] >= 5 else 1  # files are counted from
        files = program["file_entry"]
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            known = not state.end_sequence and 0 <= state.file - first < len(files)
            name = files[state.file - first].name.decode(errors="replace") if known else ""
            yield _Row(state.address, f"{name}:{state.line}" if name and state.line else "")


class Sites:
    """Names of the addresses that a recording has as sites; or sites are places in ``names``, from 1."""

    def __init__(self, modules: list[Module], names: Sequence[str] = ()) -> None:
        self._modules = modules
        self._names = names
        self._program = cache(_Program)
        self.name = cache(self._name)

    def where(self, site: int, *, observed: bool = False) -> str:
        """`` at log.c:42``, of what was only found there ``, seen at log.c:42``; or empty."""
        name = self.name(site)
        return f"{', seen at' if observed else ' at'} {name}" if name else ""

    def _name(self, site: int) -> str:
        """``log.c:42``; without line numbers in the program ``append+0x2c``, without symbols ``log+0x112c``; or empty.

        A site is where a call returns to; the call is before it.
        """
        if not site:
            return ""
        if site <= len(self._names):
            return self._names[site - 1]
        for module in self._modules:
            if module.start <= site < module.end:
                offset = site - module.start + module.offset
                file = Path(module.path).name
                if module.start >= SOURCES:
                    return f"{file}:{offset}"
                return self._program(module.path).name(offset - 1) or f"{file}+{offset:#x}"
        return f"{site:#x}"
