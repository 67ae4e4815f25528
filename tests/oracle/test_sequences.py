"""Random sequences of operations: what came of each, and what then was in sysfs, on a real kernel and under daxemu."""

from __future__ import annotations

import pytest

from tests.oracle.differences import assert_alike
from tests.oracle.kernel import KERNELS
from tests.oracle.machine import Job, boot
from tests.oracle.programs import recording
from tests.oracle.sequences import operations_in, parents, planned, replayed
from tests.oracle.topology import TOPOLOGIES

# Static regions leave little to do; of a device of 1 GiB alignment each binding takes a real kernel a second.
SEQUENCES = {"hmem": (15, 150), "pmem4K": (5, 80), "pmem2M": (5, 80)}
RECORDED = (6, 80)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", SEQUENCES)
def test_a_random_sequence_goes_as_on_the_real_kernel(kernel, name, real_kernel, static, compiled, request):
    topology, seed, record = TOPOLOGIES[name], request.config.getoption("--seed"), request.config.getoption("--record")
    lines = planned(kernel, topology, seed, *(RECORDED if record else SEQUENCES[name]))
    job = Job("replay", ["/replay", *parents(topology)], "".join(f"{line}\n" for line in lines).encode())

    theirs = boot(real_kernel(kernel), topology, {"replay": static("replay")}, [job])["replay"]
    ours = replayed(compiled("replay"), kernel, topology, lines)

    assert (theirs.status, ours.status) == (0, 0), f"{theirs}\n{ours}"
    if record:
        recording("replay", kernel, topology).write_text(theirs.output)
    assert operations_in(theirs.output) == lines
    assert_alike(f"sequences of seed {seed}", kernel, name, theirs.output, ours.output)
