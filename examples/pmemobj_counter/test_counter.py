"""A transaction of libpmemobj is all or nothing after a power failure, if it says what it changes."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("counter.c")
pytestmark = pytest.mark.dax(size="16M")


@pytest.fixture(scope="session")
def counter(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/libpmemobj.h").exists():
        pytest.skip("no C compiler, or no libpmemobj: apt install gcc libpmemobj-dev")
    path = tmp_path_factory.mktemp("bin") / "counter"
    subprocess.run([compiler, "-g", "-o", path, SOURCE, "-lpmemobj"], check=True)
    return lambda what: [path, "/dev/dax0.0", what]


def test_both_counters_agree_wherever_the_power_fails(dax_crash, counter):
    # Without a limit so low all states are tried, which takes most of a minute.
    result = dax_crash.explore(counter("add"), counter("verify"), prepare=counter("create"), limit=8)
    assert result.states > result.points > 1


def test_a_forgotten_range_is_found(dax_crash, counter):
    result = dax_crash.explore(counter("forget"), counter("verify"), prepare=counter("create"), fail=False, limit=8)
    assert result.failures[0].reason.startswith("exit status 1: 1 and 0")
