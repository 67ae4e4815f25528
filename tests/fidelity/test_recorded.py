"""The programs of observations see under daxemu what was recorded on real kernels (``tox run -e oracle`` asks anew)."""

import pytest

from tests.oracle.differences import assert_alike
from tests.oracle.kernel import KERNELS
from tests.oracle.programs import PROGRAMS, emulated, recording
from tests.oracle.sequences import operations_in, replayed
from tests.oracle.topology import TOPOLOGIES


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_sees_what_was_recorded(kernel, name, program, compiled):
    ours = emulated(program, compiled(program.name), kernel, TOPOLOGIES[name])

    assert ours.status == 0, ours
    assert_alike(program.name, kernel, name, recording(program.name, kernel, TOPOLOGIES[name]).read_text(), ours.output)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["hmem", "pmem2M", "pmem4K"])
def test_a_random_sequence_goes_as_recorded(kernel, name, compiled):
    recorded = recording("replay", kernel, TOPOLOGIES[name]).read_text()

    ours = replayed(compiled("replay"), kernel, TOPOLOGIES[name], operations_in(recorded))

    assert ours.status == 0, ours
    assert_alike("a recorded sequence", kernel, name, recorded, ours.output)
