"""What crash states show and what not: the limits of docs/explanation/crash-soundness.md, from both sides."""

import itertools
import os
import subprocess

import pytest

from daxemu._core import scan_lacks
from daxemu.pmem import Recording
from daxemu.pmem.findings import find
from daxemu.pmem.format import STATE
from daxemu.pmem.recorder import _stable
from daxemu.pmem.report import as_json
from tests.conftest import PROGRAMS, require, require_library

A, B = 0, 64  # lines
pytestmark = pytest.mark.dax(size="4M")


@pytest.fixture
def left(dax_crash):
    """What power failures during a workload may leave of the first bytes of A and B."""

    def explore(workload, **options):
        seen = set()
        dax_crash.explore(workload, lambda memory: seen.add((memory[A], memory[B])), **options)
        return seen

    return explore


@pytest.fixture
def suspicious(dax_crash):
    """What the recording of a workload shows without any check."""

    def find(workload):
        result = dax_crash.explore(workload, lambda _: True)
        return {(finding.kind, finding.offset) for finding in result.findings}

    return find


@pytest.fixture
def durable(compiled):
    require_library("libpmem.h", "libpmem-dev")
    program = compiled("durable", "-lpmem")
    return lambda *steps: [program, "/dev/dax0.0", *steps]


def test_stores_between_two_looks_collapse(left):
    def twice(memory, look):
        memory[A] = 1
        look(A, 1)
        memory[A] = 2
        memory.persist(A, 1)

    assert left(lambda memory: twice(memory, lambda *_: None)) == {(0, 0), (2, 0)}
    assert (1, 0) in left(lambda memory: twice(memory, memory.flush))


@pytest.mark.parametrize(("scan", "found"), [("none", False), ("fences", True)])
def test_a_line_that_is_not_flushed_is_seen_at_the_next_fence(left, scan, found):
    def workload(memory):
        memory[A] = memory[B] = 1
        memory.persist(B, 1)
        memory[A] = 2
        memory.persist(A, 1)

    assert ((1, 0) in left(workload, scan=scan)) == found


@pytest.mark.parametrize(("compared", "seen"), [(False, 3), (True, 2)], ids=["pages are told", "all is compared"])
def test_a_line_of_another_process_is_seen_at_its_own_fence(dax_device, durable, tmp_path, compared, seen):
    """Of four fences the second and the third are ours, the last is that of the process that has stored."""
    if not compared and scan_lacks(dax_device._backing.bytes_fd):
        pytest.skip("this kernel does not tell which pages were stored to")
    steps = durable("wait", "store", "wait", "drain")
    with dax_device.open() as file, file.mmap() as memory, dax_device.record(tmp_path / "rec") as recorder:
        os.pwrite(recorder._state, bytes([compared]), STATE.offset("scan_diff"))
        memory.drain()  # the first look is at everything
        with dax_device.popen(steps, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            for _ in range(2):
                program.stdout.read(1)
                memory.drain()
                program.stdin.write(b"x")
                program.stdin.flush()
        assert program.returncode == 0
    with Recording(tmp_path / "rec") as recording:
        told = [event.type.name for event in recording.events()]
    assert told.index("STORE") == seen
    assert told.count("FENCE") == 4


@pytest.mark.dax(persistence="cpu_cache")
@pytest.mark.parametrize(
    ("looks", "found"), [(0, {(1, 1)}), (1, {(0, 1), (1, 1)})], ids=["after both stores", "between them"]
)
def test_with_eadr_only_looks_tell_the_order_of_stores(left, looks, found):
    def workload(memory):
        memory[B] = 1
        memory.flush(B, looks)
        memory[A] = 1
        memory.flush(A, 128)

    assert left(workload, points="flushes") == found


@pytest.mark.dax(persistence="cpu_cache")
@pytest.mark.parametrize(
    ("at_once", "found"),
    [(False, {(0, 0), (0, 1), (1, 1)}), (True, {(0, 0), (1, 0), (1, 1)})],
    ids=["each by itself", "at once"],
)
def test_with_eadr_lines_of_one_look_are_ordered_by_address(left, at_once, found):
    """B was stored first."""

    def workload(memory):
        memory[B] = 1
        if not at_once:
            memory.flush(B, 1)
        memory[A] = 1
        memory.flush(A, 128)

    assert left(workload, points=1) == found


@pytest.mark.parametrize(
    ("offset", "left"),
    [(8, {"00", "11"}), (56, {"00", "01", "10", "11"})],
    ids=["in one line", "in two lines"],
)
def test_a_line_is_old_or_new_as_a_whole(dax_crash, offset, left):
    """Hardware promises no more than 8 bytes; these are two times 8."""
    seen = set()

    def workload(memory):
        memory[offset : offset + 16] = b"1" * 16
        memory.persist(offset, 16)

    dax_crash.explore(workload, lambda memory: seen.add(f"{memory[offset] % 48}{memory[offset + 8] % 48}"))
    assert seen == left


def test_a_store_that_changes_nothing_is_invisible(suspicious):
    def twice(memory, first, second):
        for value in (first, second):
            memory[A] = value
            memory.persist(A, 1)

    assert suspicious(lambda memory: twice(memory, 1, 2)) == set()
    assert suspicious(lambda memory: twice(memory, 3, 3)) == {("flushed without change", A)}


@pytest.mark.parametrize(("last", "found"), [("drain", set()), ("locked", {("not fenced", 0)})])
def test_locked_instructions_are_no_fences(suspicious, durable, last, found):
    assert suspicious(durable("flush", last)) == found


@pytest.mark.parametrize(("last", "found"), [("drain", set()), ("end", {("not fenced", 0)})])
def test_that_clflush_needs_no_fence_is_not_known(suspicious, durable, monkeypatch, last, found):
    monkeypatch.setenv("PMEM_NO_CLWB", "1")
    monkeypatch.setenv("PMEM_NO_CLFLUSHOPT", "1")
    assert suspicious(durable("flush", last)) == found


class Written:
    """Memory that another thread is writing to: it is never twice the same, until that thread is done."""

    def __init__(self, contents):
        self._contents = contents

    def read(self, *_):
        return next(self._contents)


def test_a_line_that_never_rests_is_noted_as_it_was_seen():
    assert _stable(Written(itertools.chain([b"1.", b"12"], itertools.repeat(b"22"))), 0, 2) == b"22"
    assert _stable(Written(itertools.cycle([b"12", b"23", b"31"])), 0, 2) in (b"12", b"23", b"31")


def test_flushes_by_instructions_of_the_program_are_not_seen(suspicious, durable):
    assert suspicious(durable("persist")) == set()
    assert suspicious(durable("own")) == {("never flushed", 0)}


@pytest.mark.parametrize(
    ("library", "found"),
    [(["-lpmem"], set()), (["-l:libpmem.a", "-l:libndctl.so.6", "-l:libdaxctl.so.1"], {("never flushed", 0)})],
    ids=["shared", "linked in"],
)
def test_flushes_of_a_libpmem_that_is_linked_in_are_not_seen(dax_crash, tmp_path, library, found):
    """And so it is told."""
    require_library("libpmem.h", "libpmem-dev")
    program = tmp_path / "durable"
    source = PROGRAMS / "durable.c"
    subprocess.run([require("gcc"), "-pthread", "-o", program, source, *library], check=True)
    result = dax_crash.explore([program, "/dev/dax0.0", "persist"], lambda _: True)
    with Recording(result.recording) as recording:
        notes = as_json(result, recording)["notes"]

    assert {(finding.kind, finding.offset) for finding in result.findings} == found
    assert [note.partition(":")[0] for note in notes] == (["no flush and no fence was recorded"] if found else [])


def test_a_static_program_is_refused(dax_crash):
    with pytest.raises(PermissionError, match="statically linked"):
        dax_crash.explore([require("busybox", "busybox-static"), "true"], lambda _: True)


def test_what_a_program_has_stored_before_counts_as_durable(dax_device, durable, tmp_path):
    with dax_device.popen(durable("store", "wait", "store"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        program.stdout.read(1)
        with dax_device.record(tmp_path / "rec"):
            dax_device.run(durable("again"), check=True)
            program.communicate(b"x")
        assert program.returncode == 0
    with Recording(tmp_path / "rec") as recording:
        found = {(finding.kind, finding.offset) for finding in find(recording)}
    assert found == {("flushed without change", 0), ("never flushed", 512)}


def test_writes_to_the_memory_file_are_found_as_anybodys(suspicious, dax_device):
    def write(memory):
        os.pwrite(dax_device._backing.fd, b"1", A)
        memory[B] = 1
        memory.persist(B, 1)

    assert suspicious(write) == {("never flushed", A)}
