"""Explorations on a dask cluster: the same result, nothing left, also where workers are lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daxemu.errors import UsageError
from daxemu.pmem import explore
from tests.cli.conftest import until
from tests.pmem.recordings import make_recording
from tests.pmem.test_explore import CHECK, flag_has_its_value, same
from tests.pmem.test_resume import WRITTEN

if os.environ.get("CI") != "true":  # there it must be, as any client program
    pytest.importorskip("distributed")
import distributed

from daxemu.pmem import cluster  # needs it


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", local_directory=str(scratch)
        ) as workers,
        distributed.Client(workers) as client,
    ):
        client.scratch = scratch
        yield client


@pytest.fixture
def recording(tmp_path):
    return make_recording(tmp_path / "r", WRITTEN)


@pytest.fixture(autouse=True)
def workers_ask_often(monkeypatch):
    """Whether the client is there."""
    monkeypatch.setattr(cluster, "_SECONDS", 0.02)


def left(client):
    return [name for _, names, _ in os.walk(client.scratch) for name in names if name.startswith("daxemu-")]


def matches(result, alone):
    alone.workers = result.workers
    return same(result, alone)


def dies_once(memory):
    once = Path(os.environ["DAXEMU_TEST_ONCE"])
    if memory[64] and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    flag_has_its_value(memory)


def kept(path):
    os.environ["DAXEMU_TEST_ONCE"] = path


def test_it_finds_the_same_and_leaves_nothing(client, recording):
    told = []
    result = explore(
        recording,
        flag_has_its_value,
        dask=client,
        progress=lambda result, _: told.append((result.workers, result.jobs)),
    )
    assert matches(result, explore(recording, flag_has_its_value))
    assert result.failed
    assert told[-1] == (2, 4)
    assert left(client) == []


def test_a_command_and_an_address(client, recording):
    command = [sys.executable, "-c", CHECK, "{image}"]
    result = explore(recording, command, dask=client.scheduler.address, points="markers")
    assert matches(result, explore(recording, command, points="markers"))
    assert left(client) == []


def test_from_the_command_line(client, recording, tmp_path):
    (tmp_path / "check.py").write_text(CHECK)
    check = f"{sys.executable} {tmp_path / 'check.py'} {{image}}"
    command = [sys.executable, "-m", "daxemu", "crash", "explore", recording, "--check", check, "--json"]
    found = [
        subprocess.run([*command, *where], capture_output=True, text=True, check=False)
        for where in (["--dask", client.scheduler.address], ["--jobs", "1"])
    ]
    assert [(result.returncode, result.stderr) for result in found] == [(1, "")] * 2
    on_cluster, here = (json.loads(result.stdout) | {"seconds": 0} for result in found)
    assert on_cluster == here
    assert left(client) == []


def test_an_interrupt_ends_what_runs(client, recording, tmp_path):
    pids = tmp_path / "pids"

    def interrupt(*_):
        until(lambda: pids.exists())
        raise KeyboardInterrupt

    script = f'test "$DAXEMU_CRASH_POINT" -lt 9 || {{ echo $$ >> {pids}; exec sleep 1000; }}'
    with pytest.raises(KeyboardInterrupt):
        explore(recording, ["sh", "-c", script, "{image}"], dask=client, progress=interrupt)
    until(lambda: not any(Path("/proc", pid).exists() for pid in pids.read_text().split()))
    assert left(client) == []


EXPLORES = """
import sys
from daxemu.pmem import cluster, explore
if __name__ == "__main__":
    cluster._SECONDS = 0.1
    explore(sys.argv[1], ["sh", "-c", sys.argv[2], "{image}"], dask=sys.argv[3])
"""


def test_nothing_is_left_of_a_killed_client(client, recording, tmp_path):
    pids = tmp_path / "pids"
    script = f"echo $$ >> {pids}; exec tail -f {pids}"
    command = [sys.executable, "-c", EXPLORES, recording, script, client.scheduler.address]
    with subprocess.Popen(command) as explorer:
        until(pids.exists)
        assert len([name for name in left(client) if not name.startswith("daxemu-crash-")]) == 2
        explorer.kill()
    until(lambda: left(client) == [])
    until(lambda: not any(Path("/proc", pid).exists() for pid in pids.read_text().split()))
    plugins = client.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.worker_plugins])
    assert [name for name in plugins if name.startswith("daxemu")] == []


def test_what_a_lost_worker_had_is_done_by_another(client, recording, tmp_path):
    once = tmp_path / "once"
    client.run(kept, str(once))
    kept(str(once))
    client.register_plugin(_Environment(str(once)), name="once")
    result = explore(recording, dies_once, dask=client)
    assert once.exists()
    result.check = "flag_has_its_value"
    assert matches(result, explore(recording, flag_has_its_value))
    client.unregister_worker_plugin("once")


class _Environment(distributed.WorkerPlugin):
    def __init__(self, path):
        self.path = path

    def setup(self, worker):  # noqa: ARG002
        kept(self.path)


def test_what_workers_lack_is_told(client, recording, monkeypatch):
    with pytest.raises(UsageError, match=r"dask worker .*no such program"):
        explore(recording, ["no-such-program-here", "{image}"], dask=client)
    monkeypatch.setattr(cluster, "__version__", "99")
    with pytest.raises(UsageError, match="install 99 there"):
        explore(recording, flag_has_its_value, dask=client)


def test_nobody_answers(recording, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.2)
    with pytest.raises(UsageError, match="no scheduler answers there"):
        explore(recording, flag_has_its_value, dask="tcp://127.0.0.1:1")


def test_without_dask_the_extra_is_named(recording):
    script = (
        "import sys; sys.modules['distributed'] = None\n"
        "from daxemu.pmem import explore\n"
        f"explore({str(recording)!r}, bool, dask='x')"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'daxemu[dask]'" in result.stderr
