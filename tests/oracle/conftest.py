"""Boots the machines, each once in a run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache

import pytest

from tests.conftest import PROGRAMS as PROGRAMS_DIRECTORY
from tests.conftest import require
from tests.oracle.kernel import Kernel, KernelMissingError, debian_kernel
from tests.oracle.machine import Answer, Job, boot
from tests.oracle.programs import PROGRAMS
from tests.oracle.topology import TOPOLOGIES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="oracle: keep what the real kernels answer to the programs")
    parser.addoption("--seed", type=int, default=1, help="oracle: seed of the random sequences, 1 by default")


@pytest.fixture(scope="session")
def real_kernel() -> Callable[[str], Kernel]:
    """A Debian kernel. Without it, or without what boots it, a test is skipped; where CI=true it fails."""

    @cache
    def find(version: str) -> Kernel:
        require("qemu-system-x86_64", "qemu-system-x86")
        require("busybox", "busybox-static")
        try:
            return debian_kernel(version)
        except KernelMissingError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no kernel {version}: {error}")

    return find


@pytest.fixture(scope="session")
def static(tmp_path_factory) -> Callable[[str], bytes]:
    """Compile a program of tests/programs so that it needs nothing else in a guest."""
    require("gcc")
    directory = tmp_path_factory.mktemp("static")

    @cache
    def build(name: str) -> bytes:
        target = directory / name
        source = PROGRAMS_DIRECTORY / f"{name}.c"
        command = ["gcc", "-O1", "-pthread", "-static", "-o", str(target), str(source)]
        subprocess.run(command, check=True)
        return target.read_bytes()

    return build


@pytest.fixture(scope="session")
def real(real_kernel, static) -> Callable[[str, str], dict[str, Answer]]:
    """What a real kernel answers to the programs: one boot for all of them."""

    @cache
    def ask(version: str, name: str) -> dict[str, Answer]:
        topology = TOPOLOGIES[name]
        files = {f"programs/{program.name}": static(program.name) for program in PROGRAMS}
        new_id = Job("new_id", ["sh", "-c", "echo dax0.0 >/sys/bus/dax/drivers/device_dax/new_id"])
        return boot(real_kernel(version), topology, files, [new_id, *(p.job(topology) for p in PROGRAMS)])

    return ask
