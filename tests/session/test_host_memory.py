"""The machine's own memory blocks and nodes are out of every program's reach, whatever way leads there."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daxemu import Engine
from daxemu.kernel.memory import MEMORY_BLOCK_SIZE
from tests.conftest import require

SYSTEM = Path("/sys/devices/system")
IN_MODIFY, IN_OPEN = 0x2, 0x20

# Tries to open a block's file for writing in every way there is; prints each way, and what came of it.
PROGRAM = """
import ctypes, errno, os, sys
block, links, inherited = sys.argv[1], sys.argv[2], int(sys.argv[3])
leaf, system = f"memory/{block}/state", "/sys/devices/system"
libc = ctypes.CDLL(None, use_errno=True)
libc.fopen.restype = ctypes.c_void_p

def at(directory, path):
    return os.open(path, os.O_WRONLY, dir_fd=os.open(directory, os.O_RDONLY | os.O_DIRECTORY))

def after_chdir(directory, path):
    os.chdir(directory)
    return os.open(path, os.O_WRONLY)

def stream(path, mode):
    if not libc.fopen(path.encode(), mode.encode()):
        raise OSError(ctypes.get_errno(), path)

def link(target):
    name = f"{links}/{len(os.listdir(links))}"
    os.symlink(target, name)
    return name

ways = {
    "started there": lambda: os.open(f"{block}/state", os.O_WRONLY),
    "inherited directory": lambda: os.open(f"{block}/state", os.O_WRONLY, dir_fd=inherited),
    "path": lambda: os.open(f"{system}/{leaf}", os.O_WRONLY),
    "read and write": lambda: os.open(f"{system}/{leaf}", os.O_RDWR),
    "truncating": lambda: os.open(f"{system}/{leaf}", os.O_WRONLY | os.O_TRUNC | os.O_CREAT),
    "slashes": lambda: os.open(f"//sys/.//devices/../devices/system//{leaf}", os.O_WRONLY),
    "bus": lambda: os.open(f"/sys/bus/memory/devices/{block}/state", os.O_WRONLY),
    "node": lambda: os.open(f"{system}/node/node0/{block}/state", os.O_WRONLY),
    "bus of nodes": lambda: os.open(f"/sys/bus/node/devices/node0/{block}/state", os.O_WRONLY),
    "link of the machine": lambda: os.open(f"{system}/cpu/cpu0/node0/{block}/state", os.O_WRONLY),
    "link after link": lambda: os.open(f"/sys/bus/cpu/devices/cpu0/node0/{block}/state", os.O_WRONLY),
    "link to the file": lambda: os.open(link(f"{system}/{leaf}"), os.O_WRONLY),
    "link to the directory": lambda: os.open(link(system) + f"/{leaf}", os.O_WRONLY),
    "link to a link": lambda: os.open(link(link(system)) + f"/{leaf}", os.O_WRONLY),
    "root of a process": lambda: os.open(f"/proc/self/root{system}/{leaf}", os.O_WRONLY),
    "fopen": lambda: stream(f"{system}/{leaf}", "w"),
    "fopen of a link": lambda: stream(link(system) + f"/{leaf}", "r+"),
    "fopen by the machine's link": lambda: stream(f"{system}/cpu/cpu0/node0/{block}/state", "a"),
}
for directory in ("/", "/sys", "/sys/devices", system, f"{system}/memory"):
    inside = os.path.relpath(f"{system}/{leaf}", directory)
    ways[f"openat {directory}"] = lambda directory=directory, inside=inside: at(directory, inside)
    ways[f"chdir {directory}"] = lambda directory=directory, inside=inside: after_chdir(directory, inside)
ways["openat beside"] = lambda: at(f"{system}/cpu", f"../{leaf}")
ways["chdir beside"] = lambda: after_chdir(f"{system}/cpu", f"../{leaf}")
ways["openat machine's link"] = lambda: at(f"{system}/cpu/cpu0/node0", f"{block}/state")
for name, way in ways.items():
    try:
        way()
        print(f"{name}: opened")
    except OSError as error:
        print(f"{name}: {errno.errorcode[error.errno]}")
"""


# There the kernel alone goes through links, and from directories, of the machine: it knows no emulated block.
BY_KERNEL = {
    "inherited directory",
    "link of the machine",
    "link after link",
    "link to the directory",
    "link to a link",
    "root of a process",
    "fopen of a link",
    "fopen by the machine's link",
    "openat beside",
    "chdir beside",
}


class Watch:
    """What the kernel tells of opens and writes of the machine's files, by anybody."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for top in ("memory", "node"):
            for directory, _, _ in os.walk(SYSTEM / top):
                assert self._libc.inotify_add_watch(self._fd, directory.encode(), IN_MODIFY | IN_OPEN) >= 0

    def seen(self) -> int:
        """Which kinds of events there were since the last time."""
        found = 0
        try:
            while data := os.read(self._fd, 1 << 16):
                at = 0
                while at < len(data):
                    _, mask, _, length = struct.unpack_from("iIII", data, at)
                    found |= mask
                    at += 16 + length
        except BlockingIOError:
            return found
        return found

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def host_block() -> Path:
    """A memory block of the machine."""
    blocks = sorted(SYSTEM.glob("memory/memory[0-9]*"))
    if not blocks:
        pytest.skip("this machine shows no memory blocks: its kernel is built without memory hotplug, or hides them")
    return blocks[0]


@pytest.fixture
def watch(host_block: Path) -> Iterator[Watch]:
    """Watches the machine's memory and nodes; a test that goes on has seen that it does."""
    watch = Watch()
    (host_block / "state").read_text()
    assert watch.seen() & IN_OPEN
    if os.access(SYSTEM / "memory/uevent", os.W_OK):
        (SYSTEM / "memory/uevent").write_text("change")  # of no subsystem, so nobody is told anything
        assert watch.seen() & IN_MODIFY
    yield watch
    watch.close()


@pytest.fixture
def tried(engine: Engine, tmp_path: Path):
    """Have a program try all ways to a block; what came of each."""

    def run(block: str) -> dict[str, str]:
        there = os.open(SYSTEM / "memory", os.O_RDONLY)
        try:
            command = [sys.executable, "-c", PROGRAM, block, str(tmp_path), str(there)]
            result = engine.run(
                command, cwd=SYSTEM / "memory", pass_fds=[there], capture_output=True, text=True, check=True
            )
        finally:
            os.close(there)
        return dict(line.split(": ") for line in result.stdout.splitlines())

    return run


def test_no_way_leads_to_a_block_of_the_machine(engine, host_block, watch, tried):
    engine.add_region("256M", provider="hmem", idle=False, driver="kmem")
    before = {path: path.read_text() for path in SYSTEM.glob("memory/memory*/state")}
    watch.seen()
    answers = tried(host_block.name)
    assert len(answers) > 25
    creating = {"truncating", "fopen", "fopen by the machine's link"}  # no file can be made in sysfs
    assert {name: answer for name, answer in answers.items() if answer != "ENOENT"} == dict.fromkeys(creating, "EACCES")
    assert not watch.seen() & IN_MODIFY
    assert {path: path.read_text() for path in SYSTEM.glob("memory/memory*/state")} == before


def test_every_way_leads_to_an_emulated_block(engine, host_block, tried):
    engine.add_region("256M", provider="hmem", idle=False, driver="kmem")
    block = f"memory{(1 << 44) // MEMORY_BLOCK_SIZE}"
    answers = tried(block)
    by_kernel = {name for name, answer in answers.items() if answer != "opened"}
    assert by_kernel == BY_KERNEL, answers


def test_no_emulated_block_is_where_the_machine_has_memory(engine):
    engine.add_region("256M", provider="hmem", idle=False, driver="kmem")
    listed = engine.run(["ls", SYSTEM / "memory"], capture_output=True, text=True, check=True).stdout.split()
    blocks = {name for name in listed if name[6:].isdecimal()}
    assert len(blocks) == 2
    assert not blocks & {path.name for path in SYSTEM.glob("memory/memory*")}


def test_daxctl_takes_blocks_offline_that_have_the_names_of_the_machines(engine, host_block, watch, tried):
    """A device whose memory is said to be where the machine has some: there the machine's own once went offline."""
    require("daxctl")
    own = sorted(int(path.name[6:]) for path in SYSTEM.glob("memory/memory[0-9]*"))[-1]
    engine.add_region("128M", provider="hmem", start=own * MEMORY_BLOCK_SIZE, idle=False, driver="kmem")
    before = {path: path.read_text() for path in SYSTEM.glob("memory/memory*/state")}
    state = SYSTEM / f"memory/memory{own}/state"
    watch.seen()

    def run(*command: str | Path) -> str:
        return engine.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert run("cat", state) == "online"
    run("daxctl", "offline-memory", "dax0.0")
    assert run("cat", state) == "offline"
    run("daxctl", "online-memory", "dax0.0")
    answers = tried(f"memory{own}")
    assert set(answers.values()) == {"opened"}, answers
    run("daxctl", "reconfigure-device", "-f", "-m", "devdax", "dax0.0")

    assert not watch.seen() & IN_MODIFY
    assert {path: path.read_text() for path in SYSTEM.glob("memory/memory*/state")} == before
