"""What the doctor finds."""

import errno
import json
import os
import re
import resource
import subprocess

import pytest

from daxemu import Engine
from daxemu._core import scan_lacks
from daxemu.launch import doctor
from daxemu.launch.doctor import check_host, check_program, wrapped_functions
from daxemu.session.session import PRELOAD_LIBRARY
from tests.conftest import require


def by_name(findings):
    return {finding.what: finding for finding in findings}


def test_wrapped_functions_are_the_symbols_that_the_library_exports():
    listed = subprocess.run(
        [require("nm", "binutils"), "-D", "--defined-only", PRELOAD_LIBRARY], capture_output=True, text=True, check=True
    )
    exported = {re.sub("@.*", "", line.split()[-1]) for line in listed.stdout.splitlines()}

    assert wrapped_functions() == exported
    assert {"open", "mmap", "fstat", "execve"} <= exported


def test_the_functions_that_matter_are_those_that_a_program_imports_and_the_library_wraps(built):
    program = built().with_name("opener")
    source = 'int puts(const char *), open(const char *, int, ...); int main(void) { return puts("/") + open("/", 0); }'
    subprocess.run([require("gcc"), "-x", "c", "-", "-o", program], input=source, text=True, check=True)

    assert by_name(check_program(str(program))[1])["functions that daxemu takes over"].value == "open"
    assert by_name(check_program(str(built()))[1])["functions that daxemu takes over"].value == "none imported directly"


@pytest.mark.parametrize(("flags", "noted"), [([], True), (["-s"], False)], ids=["symbols", "stripped"])
def test_a_libpmem_that_is_linked_in_is_noted(built, flags, noted):
    program = built().with_name("persistent")
    source = "void pmem_persist(const void *at, unsigned long n) { (void)at, (void)n; } int main(void) { return 0; }"
    subprocess.run([require("gcc"), *flags, "-x", "c", "-", "-o", program], input=source, text=True, check=True)
    notes = [finding.value for finding in check_program(str(program))[1] if finding.what == "note"]

    assert any("what it does by pmem_persist is not seen" in note for note in notes) is noted


def test_the_verdict_comes_last(built):
    program, findings = check_program(str(built("-static")))

    assert findings[-1].what == "verdict"
    assert findings[-1].good is False
    assert program.obstacle in findings[-1].value


def test_a_program_that_cannot_be_read_is_named_so(built, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda _, mode, **__: mode != doctor.os.R_OK)

    assert by_name(check_program(str(built()))[1])["note"].value.startswith("the file cannot be read")


def test_every_check_of_the_host_passes_where_the_tests_pass():
    assert [finding for finding in check_host() if finding.good is False] == []


@pytest.mark.parametrize("what", ["revoking mappings", "session directory"])
def test_a_check_that_fails_says_why(monkeypatch, what):
    def fail(*_):
        raise OSError("the sky is falling")

    monkeypatch.setattr(doctor, "sync_mappings", fail)
    monkeypatch.setattr(doctor, "sessions_root", fail)

    finding = by_name(check_host())[what]

    assert (finding.good, finding.value) == (False, "the sky is falling")


def test_how_unflushed_lines_are_found_is_what_a_recording_says(tmp_path):
    told = by_name(check_host())["unflushed lines"]
    with Engine() as engine:
        device = engine.add_region("4M").devices[0]
        with device.open() as file, file.mmap() as memory, device.record(tmp_path / "rec", scan="fences"):
            memory.drain()
    sources = json.loads((tmp_path / "rec" / "meta.json").read_text())["sources"]

    assert ("scan:pagemap" in sources) is (told.good is True)
    assert ("scan:diff" in sources) is (told.good is None)


def test_what_the_kernel_lacks_to_find_them_otherwise_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "scan_lacks", lambda _: ("userfaultfd with WP_ASYNC", errno.EPERM))
    told = by_name(check_host())["unflushed lines"]

    assert told.good is None
    assert "no userfaultfd with WP_ASYNC (Operation not permitted)" in told.value


def test_the_probe_tries_it():
    """Nothing of what it needs is there without a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fd = os.memfd_create("probed")
    try:
        os.ftruncate(fd, 4096)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        assert scan_lacks(fd) == ("/proc/self/pagemap", errno.EMFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(fd)
