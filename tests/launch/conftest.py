"""Programs of every kind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Callable[..., Path]:
    """Compile a program that does nothing; with these flags."""
    gcc = require("gcc")
    directory = tmp_path_factory.mktemp("programs")
    source = directory / "nothing.c"
    source.write_text("int main(void) { return 0; }\n")

    def build(*flags: str) -> Path:
        target = directory / "-".join(["nothing", *flags])
        if not target.exists():
            subprocess.run([gcc, "-o", target, source, *flags], check=True)
        return target

    return build


@pytest.fixture
def executable(tmp_path) -> Callable[[str, bytes | str], Path]:
    """Make an executable file."""

    def make(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o755)
        return path

    return make
