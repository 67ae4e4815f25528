"""What /proc tells of devices: the device's node and page size, never the file behind it."""

import os
import subprocess

import pytest

from daxemu import Engine
from tests.conftest import require


def smaps(kib: int, page_kib: int, flags: str) -> list[str]:
    """What Linux 6.12 adds to the mapping of a device, of which it counts no page."""
    sizes = [f"{name + ':':16}{value:8} kB" for name, value in (("Size", kib), ("KernelPageSize", page_kib))]
    return [*sizes, f"{'MMUPageSize:':16}{page_kib:8} kB", f"{'Rss:':16}{0:8} kB", f"VmFlags: {flags} "]


@pytest.mark.parametrize("align", ["4K", "2M"])
def test_maps_and_smaps_show_the_node_and_the_devices_pages(compiled, align):
    with Engine() as engine:
        device = engine.add_region("16M", align=align).devices[0]
        answer = engine.run(
            [compiled("smaps"), device.path, str(device.align)], capture_output=True, text=True, check=True
        )
    unit = device.align
    lines = answer.stdout.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("/proc/")]
    maps, details, protected, unmapped = (lines[a + 1 : b] for a, b in zip(starts, [*starts[1:], None], strict=True))
    assert maps == [
        f"1 blocks r--s {2 * unit:08x} at 73: /dev/dax0.0",
        "4 blocks rw-s 00000000 at 73: /dev/dax0.0",
    ]
    at = details.index(maps[1])
    for mapped, seen, flags in (
        (1, details[:at], "rd mr me ms sd hg"),
        (4, details[at:], "rd wr sh mr mw me ms sd hg"),
    ):
        assert set(smaps(mapped * unit >> 10, unit >> 10, flags)) <= set(seen)
        counted = [line for line in seen if line.endswith(" kB") and not line.endswith(" 0 kB")]
        assert len(counted) == 3, counted
    assert protected == [
        "1 blocks rw-s 00000000 at 73: /dev/dax0.0",
        f"1 blocks ---s {unit:08x} at 73: /dev/dax0.0",
        f"2 blocks rw-s {2 * unit:08x} at 73: /dev/dax0.0",
    ]
    assert unmapped == []


def counts(output: str, when: str) -> dict[str, str]:
    """What tests/programs/counted.c saw then of a mapping: kB by name, and VmFlags."""
    _, _, rest = output.partition(f"{when}\n")
    seen = [line.split(":", 1) for line in rest.splitlines()[1:7] if line.startswith("  ")]
    return {name.strip(): value.removesuffix("kB").strip() for name, value in seen}


@pytest.mark.parametrize(("kernel", "align", "counted"), [("6.1", "2M", 2048), ("6.1", "4K", 0), ("6.12", "2M", 0)])
def test_smaps_counts_what_was_touched_as_that_kernel_does(compiled, kernel, align, counted):
    with Engine(kernel=kernel) as engine:
        device = engine.add_region("16M", align=align).devices[0]
        answer = engine.run(
            [compiled("counted"), device.path, str(device.align)], capture_output=True, text=True, check=True
        )
    told = {
        when: counts(answer.stdout, when)
        for when in (
            "untouched",
            "a block stored to",
            "its parent's, touched",
            "loaded from, by a descriptor for reading",
        )
    }
    assert {seen.get("Rss", "0") for seen in told.values()} == {"0", str(counted)}
    assert "Rss" not in told.pop("untouched")
    for when, seen in told.items():
        clean, dirty = (0, counted) if "reading" not in when else (counted, 0)
        assert seen.get("Pss", "0") == seen.get("Referenced", "0") == seen.get("Rss", "0") == str(counted), when
        assert (seen["Private_Clean"], seen["Private_Dirty"]) == (str(clean), str(dirty)), when
    if os.geteuid() == 0:
        assert counts(answer.stdout, "its parent's, MAP_SYNC")["VmFlags"] == "rd wr sh mr mw me ms sf sd hg"
        assert counts(answer.stdout, "its parent's, for reading")["VmFlags"] == "rd mr me ms sd hg"


WATCHER = """
import mmap, os, sys
device = os.open("/dev/dax0.0", os.O_RDWR)
memory = mmap.mmap(device, 4 << 20)
held = open("/proc/self/maps", "rb", buffering=0)
def lines():
    held.seek(0)
    return [line.split() for line in held.read().decode().splitlines() if line.endswith(("dax0.0", "(deleted)"))]
print(lines())
with open("/proc/self/smaps") as whole: print(whole.read().count("/dev/dax0.0"))
input()
print(lines())
os.unlink("/dev/dax0.0")
print(lines(), os.readlink(f"/proc/self/fd/{device}"))
memory.close()
print(lines())
"""


def test_a_view_is_taken_anew_when_read_from_the_begin_and_hides_revocation():
    with Engine() as engine:
        device = engine.add_region("16M").devices[0]
        watcher = engine.popen(
            [require("python3"), "-uc", WATCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        first = watcher.stdout.readline()
        assert watcher.stdout.readline() == "1\n"
        device.kill()
        rest, _ = watcher.communicate("\n", timeout=30)
    (mapping,) = eval(first)
    assert mapping[1:3] == ["rw-s", "00000000"]
    assert mapping[5:] == ["/dev/dax0.0"]
    dead, unlinked, unmapped = rest.splitlines()
    assert dead + "\n" == first
    deleted, _, link = unlinked.rpartition(" /dev")
    assert eval(deleted) == [[*mapping, "(deleted)"]]
    assert link == "/dax0.0 (deleted)"
    assert unmapped == "[]"


MAPPER = """
import mmap, os
device = os.open("/dev/dax0.0", os.O_RDWR)
memory = mmap.mmap(device, 4 << 20)
print(device, flush=True)
input()
"""


@pytest.fixture
def mapper():
    """A process that maps a device, and what the engine's other programs print of it."""
    with Engine() as engine:
        engine.add_region("16M")
        process = engine.popen(
            [require("python3"), "-c", MAPPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        fd = int(process.stdout.readline())

        def ask(*command: str) -> str:
            line = [word.format(pid=process.pid, fd=fd) for word in command]
            return engine.run(line, capture_output=True, text=True, check=False).stdout

        yield ask
        process.communicate("\n", timeout=30)


def test_other_processes_are_seen_so_too(mapper):
    assert mapper("readlink", "/proc/{pid}/fd/{fd}") == "/dev/dax0.0\n"
    (line,) = [line for line in mapper("cat", "/proc/{pid}/maps").splitlines() if line.endswith("/dev/dax0.0")]
    addresses = line.split()[0]
    assert "memfd:dax" not in mapper("cat", "/proc/{pid}/maps", "/proc/{pid}/task/{pid}/smaps")
    assert [
        row for row in mapper("sh", "-c", "cd /proc/{pid}; cat maps").splitlines() if row.endswith("/dev/dax0.0")
    ] == [line]
    if os.path.exists("/proc/self/numa_maps"):
        assert f"{addresses.split('-')[0]} default file=/dev/dax0.0\n" in mapper("cat", "/proc/{pid}/numa_maps")
    if os.geteuid() == 0:
        assert mapper("readlink", "/proc/{pid}/map_files/" + addresses) == "/dev/dax0.0\n"
        assert "character special file" in mapper("stat", "-L", "/proc/{pid}/map_files/" + addresses)
    assert "-> /dev/dax0.0\n" in mapper("ls", "-l", "/proc/{pid}/fd")


def test_pmap_and_lsof_show_the_device(mapper):
    require("pmap", "procps")
    require("lsof")
    assert [line.split()[1:] for line in mapper("pmap", "{pid}").splitlines() if line.endswith("dax0.0")] == [
        ["4096K", "rw-s-", "dax0.0"]
    ]
    (row,) = [line.split() for line in mapper("pmap", "-XX", "{pid}").splitlines() if line.endswith("dax0.0")]
    assert row[5:8] == ["4096", "2048", "2048"]
    kinds = [line.split()[3:5] for line in mapper("lsof", "-p", "{pid}").splitlines() if line.endswith("/dev/dax0.0")]
    assert ["mem", "CHR"] in kinds


def test_devices_lists_the_driver(mapper):
    engine_major = mapper("stat", "-c", "%t", "/dev/dax0.0")
    listed = mapper("cat", "/proc/devices").partition("\n\nBlock devices:")[0].splitlines()[1:]
    assert f"{int(engine_major, 16):3} dax" in listed
    numbers = [int(line.split()[0]) for line in listed]
    assert numbers == sorted(numbers)


def test_what_maps_no_device_reads_the_machines_own_files(mapper):
    assert mapper("readlink", "/proc/self/fd/0", "/proc/self/maps").count("memfd") == 0
    assert mapper("stat", "-Lc", "%s", "/proc/self/maps") == "0\n"
    assert mapper("sh", "-c", "exec 7</proc/self/maps; stat -Lc %s /proc/self/fd/7") == "0\n"
