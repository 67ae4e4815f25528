"""The programs of observations see under daxemu what was recorded on real kernels (``tox run -e oracle`` asks anew)."""

import pytest

from tests.oracle.differences import assert_alike
from tests.oracle.kernel import KERNELS
from tests.oracle.programs import PROGRAMS, emulated, recording
from tests.oracle.topology import TOPOLOGIES


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_sees_what_was_recorded(kernel, name, program, compiled):
    ours = emulated(program, compiled(program.name), kernel, TOPOLOGIES[name])

    assert ours.status == 0, ours
    assert_alike(program.name, kernel, name, recording(program, kernel, TOPOLOGIES[name]).read_text(), ours.output)
