"""Broken memory as programs meet it."""

import os
import subprocess
import sys

import pytest

from daxemu import DaxBusError, Engine, KernelError

M = 1 << 20
LOST = "BUS_MCEERR_AR at 2097152 lsb 21"


class Program:
    """tests/programs/poison.c, running."""

    def __init__(self, launcher, command) -> None:
        self.process = launcher.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdout.readline() == "mapped\n"

    def __call__(self, request: str) -> str:
        self.process.stdin.write(request + "\n")
        return self.process.stdout.readline().strip()

    def close(self) -> int:
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=30)


@pytest.fixture
def device():
    with Engine() as engine:
        yield engine.add_region("16M").devices[0]


@pytest.fixture
def start(device, compiled):
    running = []

    def start(path=None):
        running.append(Program(device, [compiled("poison"), path or device.path]))
        return running[-1]

    yield start
    for program in running:
        assert program.close() == 0


def test_a_touch_is_a_machine_check_in_old_and_new_mappings(device, start):
    old = start()
    assert old("write 3000000") == "7"
    assert old("info") == "set"
    assert old("read 3000000") == "7"
    device.inject_poison("2M")
    new = start()
    assert new("info") == "set"
    for program in (old, new):
        assert program("read 3000000") == LOST + " blocked with SIGUSR1"
        assert program("write 2097152") == LOST + " blocked with SIGUSR1"
        assert program("fork 2097155") == LOST + " blocked with SIGUSR1"
        assert program("copy 3000000") == "EFAULT"
        assert program("default 3000000") == "killed by 7"
        assert program("ignore 3000000") == "killed by 7"
        assert program("write 2097151") == "7"
        assert program("write 4194304") == "7"
    device.clear_poison()
    for program in (old, new):
        assert program("read 3000000") == "7"
        assert program("fork 3000000") == "7"
        assert program("copy 3000000") == "ok"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("how", "old", "told", "left"),
    [
        ("info", "with_info SA_SIGINFO SIGUSR1", LOST + " blocked with SIGUSR1", None),
        ("plain", "note SIGUSR1", "SIGBUS blocked with SIGUSR1", None),
        (
            "reset",
            "with_info SA_SIGINFO SA_RESETHAND SIGUSR1",
            LOST + " blocked with SIGUSR1",
            "default SA_SIGINFO SA_RESETHAND SIGUSR1",
        ),
        ("nested", "with_info SA_SIGINFO SA_NODEFER SIGUSR1", LOST + " with SIGUSR1", None),
        ("altstack", "with_info SA_SIGINFO SA_ONSTACK SIGUSR1", LOST + " on its stack blocked with SIGUSR1", None),
        ("signal", "note", "SIGBUS blocked", None),
        ("sysv", "note SA_RESETHAND SA_NODEFER", "SIGBUS", "default SA_RESETHAND SA_NODEFER"),
    ],
)
def test_the_program_sees_its_own_handler_only(device, start, how, old, told, left, when):
    program = start()
    if when == "before":
        assert program(how) == "set"
    device.inject_poison("2M")
    if when == "after":
        assert program(how) == "set"
    assert program("old") == old
    assert program("read 2097160") == told
    assert program("old") == (left or old)


def test_a_dead_device_and_the_end_of_one_are_no_machine_checks(device, start):
    program = start()
    assert program("info") == "set"
    device.inject_poison("2M", "2M")
    device.kill()
    assert program("read 3000000") == "BUS_ADRERR at 3000000 lsb 0 blocked with SIGUSR1"
    device.clear_poison()
    device.inject_poison(0)
    device.revive()
    assert program("read 3000000") == "0"
    assert program("read 10") == "BUS_MCEERR_AR at 0 lsb 21 blocked with SIGUSR1"


def test_the_next_owner_of_the_range_finds_it_broken(compiled):
    with Engine() as engine:
        region = engine.add_region("16M", provider="hmem", align="4K")
        first = region.create_device()
        with first.open() as file, file.mmap() as memory:
            memory[3 * M] = 7
        first.inject_poison("3M", 1)
        first.destroy()
        first = region.create_device("2M")
        second = region.create_device("8M")
        assert (first.poison, second.poison) == ([], [(1 * M, 512)])
        program = Program(engine, [compiled("poison"), second.path])
        assert program("info") == "set"
        assert program(f"read {M + 4095}") == f"BUS_MCEERR_AR at {M} lsb 12 blocked with SIGUSR1"
        assert program(f"read {M + 4096}") == "0"
        second.clear_poison("1M", "4K")
        assert program(f"read {M}") == "7"
        assert program.close() == 0


@pytest.mark.parametrize("asked", ["early", "late", None])
def test_who_asked_is_told_early_of_what_it_maps(device, start, asked):
    program, other = start(), start()
    for listener in (program, other):
        assert listener("listen") == "set"
    if asked:
        assert program(asked) == "0"
    device.inject_poison("14M")  # not mapped
    assert program("told") == "nothing"
    device.inject_poison("2M", "4M")
    assert program("told") == ("BUS_MCEERR_AO at 2097152 lsb 21" if asked == "early" else "nothing")
    assert other("told") == "nothing"
    device.clear_poison()
    device.kill()
    device.revive()
    assert program("told") == "nothing"


def test_who_asked_early_and_has_no_handler_dies_of_it(device, start, compiled):
    program = Program(device, [compiled("poison"), device.path])
    assert program("early") == "0"
    device.inject_poison(0)
    assert program.process.wait(timeout=30) == -7
    program.process.stdin.close()
    program.process.stdout.close()


def test_what_a_program_asked_its_successors_have_asked(device, compiled):
    script = "import ctypes, os, sys; ctypes.CDLL(None).prctl(33, 1, 1, 0, 0); os.fork() and os._exit(os.wait()[1]);"
    command = [sys.executable, "-c", script + "os.execv(sys.argv[1], sys.argv[1:])", compiled("poison"), device.path]
    program = Program(device, command)
    assert program("listen") == "set"
    device.inject_poison("4M")
    assert program("told") == "BUS_MCEERR_AO at 4194304 lsb 21"
    assert program.close() == 0


def test_a_mapping_with_broken_blocks_can_be_moved(device, start):
    program = start()
    assert program("info") == "set"
    assert program("write 5000000") == "7"
    device.inject_poison("2M")
    assert program("move") == "moved"
    assert program("read 3000000") == LOST + " blocked with SIGUSR1"
    assert program("read 5000000") == "7"
    device.clear_poison()
    assert program("read 3000000") == "0"


def test_maps_do_not_show_it(device, start):
    program = start()
    device.inject_poison("2M")
    maps = device.run(["cat", f"/proc/{program.process.pid}/maps"], capture_output=True, text=True).stdout
    (line,) = [line for line in maps.splitlines() if line.endswith("/dev/dax0.0")]
    start_of, _, end = line.split()[0].partition("-")
    assert int(end, 16) - int(start_of, 16) == 8 * M


def test_python_mappings(device):
    with device.open() as file, file.mmap() as before, device.open("r") as reader, reader.mmap() as read_only:
        before[3 * M] = 7
        device.inject_poison("2M", 1)
        with file.mmap() as after:
            for memory in (before, after, read_only):
                with pytest.raises(DaxBusError, match=f"byte {2 * M} of the mapping.*poisoned") as caught:
                    memory.read(2 * M - 4, 8)
                assert caught.value.address == 2 * M
                with pytest.raises(DaxBusError):
                    memory[3 * M] = 1
                assert memory[2 * M - 1] == memory[4 * M] == 0
            device.clear_poison("2M", 1)
            assert before[3 * M] == after[3 * M] == read_only[3 * M] == 7
    assert device.poison == []


def test_poison_in_units_of_sectors(device):
    device.inject_poison(1000, 100)
    device.inject_poison("4M", "1K")
    assert device.poison == [(512, 1024), (4 * M, 1024)]
    device.clear_poison(0, "1M")
    assert device.poison == [(4 * M, 1024)]
    with pytest.raises(KernelError, match="not part of dax"):
        device.inject_poison("16M")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may poison memory")
def test_madvise_hwpoison_is_told_to_who_did_it_and_nobody_else(device, start):
    program, other = start(), start()
    assert other("info") == program("info") == "set"
    assert program("hwpoison 4096") == "code 4 at 0 lsb 21"
    assert program("read 4096") == other("read 4096") == "0"
    assert program("old") == "with_info SA_SIGINFO SIGUSR1"
    assert program("hwpoison 4097") == "EINVAL"
    assert device.poison == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may poison memory")
def test_madvise_hwpoison_is_told_to_others_that_asked_early(device, start):
    program, other, third = start(), start(), start()
    assert program("info") == other("listen") == third("listen") == "set"
    assert other("early") == program("early") == "0"
    assert program("hwpoison 6295552") == "code 4 at 6291456 lsb 21"
    assert other("told") == "BUS_MCEERR_AO at 6291456 lsb 21"
    assert third("told") == "nothing"
    assert program("old") == "with_info SA_SIGINFO SIGUSR1"
    assert device.poison == []
