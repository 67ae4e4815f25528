"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
collect_ignore = ["oracle"]  # needs virtual machines: ask for it by name, or by tox run -e oracle

PROGRAMS = Path(__file__).parent / "programs"
NOBODY = 65534


def require(program: str, package: str | None = None) -> str:
    """Path of a client program. Without it the test is skipped; where CI=true it fails."""
    found = shutil.which(program)
    if found is None:
        text = f"{program} is not installed: apt-get install {package or program}"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return found


def require_library(header: str, package: str) -> None:
    """Skip, or fail where CI=true, without what programs that use a library are compiled with."""
    require("gcc")
    if subprocess.run(
        ["gcc", "-E", "-include", header, "-x", "c", os.devnull], capture_output=True, check=False
    ).returncode:
        text = f"{header} is not installed: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture(scope="session")
def runtime_dir() -> Iterator[Path]:
    """A short directory for sessions, of which this test run is the only user."""
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="dx"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def sessions_in_runtime_dir(runtime_dir, monkeypatch):
    """No test meets the sessions of another run, nor leaves one behind."""
    monkeypatch.setenv("DAXEMU_SESSIONS_DIR", str(runtime_dir))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    monkeypatch.delenv("DAXEMU_SESSION", raising=False)
    yield
    left = [path for root in runtime_dir.glob("daxemu-*") for path in root.iterdir()]
    assert not left, f"sessions left behind: {left}"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Callable[..., Path]:
    """Compile a program of tests/programs; a path that every user may execute."""
    require("gcc")
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="dxbin"))
    directory.chmod(0o755)

    def build(name: str, *libraries: str) -> Path:
        target = directory / name
        if not target.exists():
            source = PROGRAMS / f"{name}.c"
            flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
            subprocess.run(["gcc", *flags, "-o", target, source, *libraries], check=True)
        return target

    yield build
    shutil.rmtree(directory)


@pytest.fixture
def durable(compiled) -> Path:
    """A program on libpmem: each way to make stores durable is a step (durable.c)."""
    require_library("libpmem.h", "libpmem-dev")
    return compiled("durable", "-lpmem")


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that every user may write to."""
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="dxpub"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def become(user: str) -> list[str]:
    """A command prefix that makes the rest run as this user."""
    if user == "root":
        if os.geteuid() != 0:
            pytest.skip("only root can run a test as root: use sudo")
        return []
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    reachable = subprocess.run(
        [*prefix, sys.executable, "-c", "import daxemu.engine"], capture_output=True, check=False
    )
    if reachable.returncode:
        # This interpreter lies in a home directory: let the user look through it, and nothing else.
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return [*prefix, "--"]


@pytest.fixture(params=["root", "ordinary"])
def daxemu_run(request, runtime_dir) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call ``daxemu run [OPTIONS] -- CMD`` as root and as an ordinary user; checks that it succeeds."""
    prefix = become(request.param)
    require("setpriv", "util-linux")

    def run(*cmd: str | Path, options: tuple[str, ...] = (), check: bool = True, **kwargs):
        line = [*prefix, sys.executable, "-m", "daxemu", "run", *options, "--", *map(str, cmd)]
        kwargs = {"capture_output": True, "text": True, "timeout": 120} | kwargs
        result = subprocess.run(line, check=False, **kwargs)
        assert not check or result.returncode == 0, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    return run
