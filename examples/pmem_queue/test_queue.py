"""What is counted must be there, wherever the power fails."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("queue.c")
TEXTS = ["short", "longer than one cache line: " + 70 * "x", "last"]
pytestmark = pytest.mark.dax(size="4M")


@pytest.fixture(scope="session")
def queue(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/libpmem.h").exists():
        pytest.skip("no C compiler, or no libpmem: apt install gcc libpmem-dev")
    path = tmp_path_factory.mktemp("bin") / "queue"
    subprocess.run([compiler, "-g", "-o", path, SOURCE, "-lpmem"], check=True)
    return lambda verb, *texts: [path, verb, "/dev/dax0.0", *texts]


def test_what_is_counted_is_there(dax_crash, queue):
    result = dax_crash.explore(queue("push", *TEXTS), queue("verify"))
    assert result.states > result.points == 2 * len(TEXTS) + 1
    assert result.sampled == 0  # all states were tried


def test_a_missing_drain_is_found(dax_crash, queue):
    lines = SOURCE.read_text().splitlines()
    flush = next(number for number, line in enumerate(lines, 1) if "pmem_flush" in line)
    with pytest.raises(pytest.fail.Exception, match=f"text 1 of 1 is not there\n.*\n.*at queue.c:{flush}"):
        dax_crash.explore(queue("hasty", *TEXTS), queue("verify"))
