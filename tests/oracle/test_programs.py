"""Programs of observations: a line each of what was asked and answered, on a real kernel and under daxemu."""

from __future__ import annotations

import pytest

from tests.oracle.differences import assert_alike
from tests.oracle.kernel import KERNELS
from tests.oracle.programs import PROGRAMS, emulated, recording
from tests.oracle.topology import TOPOLOGIES

MACHINES = [
    pytest.param(kernel, name, marks=pytest.mark.xdist_group(f"{kernel}-{name}"), id=f"{kernel}-{name}")
    for kernel in KERNELS
    for name in TOPOLOGIES
]


@pytest.mark.parametrize(("kernel", "name"), MACHINES)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_is_answered_as_by_the_real_kernel(kernel, name, program, real, compiled, request):
    topology = TOPOLOGIES[name]
    theirs = real(kernel, name)[program.name]
    assert theirs.status == 0, theirs
    record = recording(program.name, kernel, topology)
    if request.config.getoption("--record"):
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(theirs.output)

    ours = emulated(program, compiled(program.name), kernel, topology)

    assert theirs.output == record.read_text(), "the real kernel answers otherwise than it was recorded: --record"
    assert ours.status == 0, ours
    assert_alike(program.name, kernel, name, theirs.output, ours.output)
