"""What this machine can do, and what a program needs."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from daxemu._core import Mapping, scan_lacks, sync_mappings
from daxemu.backing.tmpfs import TmpfsStore
from daxemu.launch.elf import Program, find_program, inspect_program
from daxemu.plugins import registered_stores
from daxemu.session.directory import sessions_root
from daxemu.session.listing import find_session, session_devices
from daxemu.session.session import PRELOAD_LIBRARY
from daxemu.units import format_size

__all__ = ["Finding", "check_host", "check_program", "check_session", "wrapped_functions"]


_PERSISTENCE = frozenset({"pmem_flush", "pmem_drain", "pmem_persist", "pmem2_get_persist_fn"})


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``good`` is None for a mere fact."""

    what: str
    value: str
    good: bool | None = None


def _symbols(elf: ELFFile, section: str, *, defined: bool) -> frozenset[str]:
    symbols = elf.get_section_by_name(section)
    if not isinstance(symbols, SymbolTableSection):
        return frozenset()
    return frozenset(s.name for s in symbols.iter_symbols() if (s["st_shndx"] != "SHN_UNDEF") is defined and s.name)


@lru_cache
def wrapped_functions() -> frozenset[str]:
    """Names that the preload library takes over: read from the library itself."""
    with PRELOAD_LIBRARY.open("rb") as file:
        return _symbols(ELFFile(file), ".dynsym", defined=True)


def _imports(program: Program) -> list[Finding]:
    """What a program asks of the C library, as far as daxemu takes it over, and what escapes it."""
    path = program.interpreter if program.kind == "script" and program.interpreter else program.path
    if not os.access(path, os.R_OK):
        return [Finding("note", "the file cannot be read; it is started as it is")]
    with path.open("rb") as file:
        elf = ELFFile(file)
        imports = _symbols(elf, ".dynsym", defined=False)
        relevant = sorted(imports & wrapped_functions())
        findings = [Finding("functions that daxemu takes over", ", ".join(relevant) or "none imported directly")]
        if "syscall" in imports:
            text = "it imports syscall(): what it asks of the kernel that way is not seen"
            findings.append(Finding("note", text))
        if linked_in := sorted(_PERSISTENCE & _symbols(elf, ".symtab", defined=True)):
            text = (
                f"it has a libpmem of its own: when it is recorded, what it does by {', '.join(linked_in)} is not seen"
            )
            findings.append(Finding("note", text))
        if elf.get_section_by_name(".note.go.buildid") is not None:
            text = "a Go program makes its system calls itself: only what goes through the C library is seen"
            findings.append(Finding("note", text))
    return findings


def _revocation() -> str:
    """Revoke and restore a mapping of a throw-away file."""
    fd = os.memfd_create("daxemu-doctor")
    try:
        os.ftruncate(fd, mmap.PAGESIZE)
        status = os.fstat(fd)
        mapping = Mapping(fd, mmap.PAGESIZE, 0, mmap.PROT_READ | mmap.PROT_WRITE, True, mmap.PAGESIZE)
        sync_mappings(status.st_dev, status.st_ino, False)
        revoked = isinstance(mapping._read(0, 1), int)
        sync_mappings(status.st_dev, status.st_ino, True)
        if not revoked or isinstance(mapping._read(0, 1), int):
            raise OSError("a revoked mapping could still be read, or did not come back")
        mapping._unmap()
    finally:
        os.close(fd)
    return "works"


def _scan() -> Finding:
    """How recordings find what was stored and not flushed: as they find out themselves."""
    what = "unflushed lines"
    try:
        fd = TmpfsStore().create("daxemu-doctor", mmap.PAGESIZE)
    except OSError as error:
        return Finding(what, str(error), False)
    try:
        lacks = scan_lacks(fd)
    finally:
        os.close(fd)
    if lacks is None:
        return Finding(what, "the kernel tells which pages were stored to (userfaultfd WP_ASYNC, PAGEMAP_SCAN)", True)
    text = (
        f"found by comparing all of a device at each look: no {lacks[0]} ({os.strerror(lacks[1])}); Linux 6.7 has it, "
        "unless a container forbids it. Record small devices, or with --scan none"
    )
    return Finding(what, text)


def _preload() -> str:
    ctypes.CDLL(str(PRELOAD_LIBRARY))
    return f"{PRELOAD_LIBRARY} ({len(wrapped_functions())} functions)"


def _check(what: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(what, attempt(), True)
    except Exception as error:  # the report says what failed, whatever it is
        return Finding(what, str(error), False)


def check_host() -> list[Finding]:
    """Try what daxemu needs of this machine; each finding says whether it works."""
    findings = [
        Finding(
            "system",
            f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        ),
        Finding("user", "root" if os.geteuid() == 0 else f"uid {os.geteuid()} (no root needed)"),
        _check("session directory", lambda: str(sessions_root())),
        _check("preload library", _preload),
        _check("revoking mappings", _revocation),
        _scan(),
    ]
    for store in registered_stores():
        probe = store.probe()
        missing = False if store.name == TmpfsStore.name else None  # others may wait to be set up
        findings.append(Finding(f"backend {store.name}", str(probe), probe.available or missing))
    return findings


def check_session(wanted: str) -> list[Finding]:
    """Ask a running session, by name or path, whether it answers. UsageError: there is none."""
    session = find_session(wanted)

    def connect() -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(5)
            connection.connect(str(session / "sock"))
        return f"{session} answers"

    findings = [_check("session", connect)]
    for device in session_devices(session):
        facts = f"{format_size(device.size)}, alignment {format_size(device.align)}, {device.devt}"
        findings.append(Finding(f"/dev/{device.chardev}", facts if device.alive else f"{facts}, dead"))
    return findings


def check_program(name: str) -> tuple[Program, list[Finding]]:
    """Look into a program; the last finding is the verdict. Raises as ``find_program``."""
    program = inspect_program(find_program(name))
    findings = [Finding("program", str(program.path)), Finding("kind", program.kind)]
    if program.interpreter:
        findings.append(Finding("interpreter", str(program.interpreter)))
    findings += [
        Finding(what, value) for what, value in (("libc", program.libc), ("machine", program.machine)) if value
    ]
    findings += _imports(program)
    if program.obstacle:
        findings.append(Finding("verdict", f"out of reach: {program.obstacle}; {program.remedy}", False))
    else:
        findings.append(Finding("verdict", "daxemu reaches it through the preload library", True))
    return program, findings
