"""What the C sources must and must not contain."""

import re
import subprocess
from pathlib import Path

import pytest

from daxemu.session.session import PRELOAD_LIBRARY
from tests.conftest import require

SOURCES = sorted((Path(__file__).parents[2] / "src/daxemu/native").rglob("*.[ch]"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_a_source_is_short_licensed_and_free_of_what_is_not_safe(source):
    text = source.read_text()

    assert text.startswith("/* SPDX-License-Identifier: MIT */")
    assert text.count("\n") <= 400
    assert not re.findall(r"\b(strncpy|sprintf|strtok|gets|alloca_free|system)\s*\(", text)
    assert "getenv" not in text or source.name in ("session.c", "wrap_exec.c"), "the environment is read once"


def test_the_preload_library_exports_only_wrappers():
    require("nm", "binutils")
    listed = subprocess.run(["nm", "-D", "--defined-only", PRELOAD_LIBRARY], capture_output=True, text=True, check=True)
    exported = {line.split()[2] for line in listed.stdout.splitlines()}

    assert {"open", "openat", "stat", "statx", "mmap", "readdir", "execve", "recvmsg"} <= exported
    assert not [name for name in exported if name.startswith("dx_")]
