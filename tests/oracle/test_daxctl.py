"""A session of Debian's daxctl, unmodified: the same JSON, the same words and the same status on a real kernel."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require
from tests.oracle.emulated import answer, machine
from tests.oracle.kernel import KERNELS
from tests.oracle.machine import Answer, Job, boot
from tests.oracle.topology import TOPOLOGIES

# The machines have the same regions at the same addresses, so nothing is normalised.
SESSION = """\
list
list -RDMi
reconfigure-device -m devdax dax0.0
reconfigure-device -m devdax dax0.0
reconfigure-device -m devdax -r 1 all
list -D
disable-device dax0.0
list -Di -d dax0.0
reconfigure-device -s 256M dax0.0
reconfigure-device -s 3M dax0.0
create-device -r 0 -s 64M
create-device -r 0 -s 128M -a 4K
create-device -r 0 -s 128M
create-device -r 0 -s 2G
create-device -r 1
list -RDM
destroy-device dax0.1
disable-device dax0.1
destroy-device dax0.1
disable-device dax0.2
reconfigure-device -s 256M dax0.2
list -M -d dax0.2
enable-device dax0.2
reconfigure-device -a 4K dax0.3
disable-device dax0.3
reconfigure-device -a 4K dax0.3
reconfigure-device -m devdax dax0.3
reconfigure-device -m devdax -a 2M dax0.3
destroy-device -f dax0.3
create-device
list -RDMi -r 0
destroy-device -f dax0.0
enable-device dax0.0
disable-device -r 1 all
reconfigure-device -r 1 -s 32M all
create-device -r 1 -s 16M
create-device -r 1
destroy-device -f -r 1 all
list -RDMi
enable-device dax7.7
destroy-device dax7.7
reconfigure-device -m system-ram dax7.7
list -r 9
create-device -r 9
list -u -RDMi
""".splitlines()


def _with_libraries(program: str) -> dict[str, bytes]:
    """A dynamic program and all that it is linked with, by their paths in the guest."""
    lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return {path.lstrip("/"): Path(path).read_bytes() for path in [program, *re.findall(r"/\S+", lines)]}


def _told(step: str, answered: Answer) -> str:
    return f"$ daxctl {step}\n{answered.output}{answered.said}status {answered.status}\n"


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_session_of_daxctl_goes_as_on_the_real_kernel(kernel, real_kernel):
    daxctl = os.path.realpath(require("daxctl"))
    topology = TOPOLOGIES["hmem"]
    jobs = [Job(f"{number:02}", [daxctl, *step.split()]) for number, step in enumerate(SESSION)]

    answers = boot(real_kernel(kernel), topology, _with_libraries(daxctl), jobs)
    theirs = [_told(step, answers[job.name]) for step, job in zip(SESSION, jobs, strict=True)]
    with machine(kernel, topology) as engine:
        ours = [_told(step, answer(engine, [daxctl, *step.split()])) for step in SESSION]

    assert "".join(ours) == "".join(theirs)
