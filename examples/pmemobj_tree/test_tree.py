"""A transaction of libpmemobj is all or nothing after a power failure, if it says what it changes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("tree.c")
pytestmark = pytest.mark.dax(size="8M")


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/libpmemobj.h").exists():
        pytest.skip("no C compiler, or no libpmemobj: apt install gcc libpmemobj-dev")
    path = tmp_path_factory.mktemp("bin") / "tree"
    subprocess.run([compiler, "-g", "-o", path, SOURCE, "-lpmemobj"], check=True)
    return path


@pytest.fixture
def tree(program, dax_device, monkeypatch):
    """Command lines of the program; a pool is there, with one number."""
    monkeypatch.setenv("PMEMOBJ_CONF", "sds.at_create=0")  # such a pool is opened in half the time

    def command(verb, *numbers):
        return [program, verb, "/dev/dax0.0", *map(str, numbers)]

    dax_device.run(command("create"), check=True)
    dax_device.run(command("insert", 20), check=True)
    return command


def test_the_tree_is_whole_wherever_the_power_fails(dax_crash, tree):
    # What libpmemobj keeps in the pool for itself and never flushes would make hundreds of states of each.
    result = dax_crash.explore(tree("insert", 10), tree("verify"), scan="none")
    assert result.states > result.points > 10
    assert result.sampled == 0  # all states were tried


def test_a_forgotten_pointer_is_found(dax_crash, tree):
    # Few states are enough: to recover from one by libpmemobj takes 10 ms.
    with pytest.raises(pytest.fail.Exception, match="2 numbers were inserted, 1 are there") as failed:
        dax_crash.explore(tree("hasty", 10), tree("verify"), limit=16)
    # Nobody flushes the pointer; it is seen at the transaction's next step.
    assert re.search(r"missing: event \d+, seen at tree\.c:\d+", str(failed.value))
