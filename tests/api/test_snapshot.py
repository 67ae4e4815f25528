"""Snapshots of devices, and prepared devices for many tests."""

import errno
import sys

import pytest

from daxemu import DaxBusError, Engine, KernelError

M = 1 << 20
WRITE = "import mmap, os; mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 8 << 20)[:5] = b'child'"


@pytest.fixture(params=["tmpfs", "tmpfs:memfd"])
def device(request):
    with Engine() as engine:
        yield engine.add_region("8M", backend=request.param).devices[0]


@pytest.fixture
def memory(device):
    with device.open() as file, file.mmap() as mapping:
        yield mapping


def test_a_restored_device_holds_what_it_held(device, memory):
    memory[0:6] = b"before"
    memory[5 * M : 5 * M + 4] = b"keep"
    with device.snapshot() as snapshot:
        memory[0:6] = b"after!"
        memory[3 * M] = 1
        changed = device.restore(snapshot)
        assert 2 * 4096 <= changed <= 4096 + 2 * M
        assert device.restore(snapshot) == 0
        assert (memory[0:6], memory[3 * M], memory[5 * M : 5 * M + 4]) == (b"before", 0, b"keep")


def test_only_what_changed_is_written(device, memory):
    memory[0 : 8 * M] = b"x" * (8 * M)
    with device.snapshot() as snapshot:
        memory[2 * M] = 0
        assert device.restore(snapshot) == 4096
        assert memory[2 * M] == ord("x")


def test_a_snapshot_is_independent(device, memory):
    memory[0:3] = b"one"
    first = device.snapshot()
    memory[0:3] = b"two"
    second = device.snapshot()
    device.restore(first)
    assert memory[0:3] == b"one"
    device.restore(second)
    assert memory[0:3] == b"two"
    first.close()
    second.close()


def test_programs_see_the_restored_bytes(device, memory):
    memory[0:5] = b"begin"
    with device.snapshot() as snapshot:
        device.run([sys.executable, "-c", WRITE], check=True)
        assert memory[0:5] == b"child"
        device.restore(snapshot)
        assert memory[0:5] == b"begin"


def test_a_dead_device_can_be_kept_and_restored_and_stays_dead(device, memory):
    memory[0:4] = b"keep"
    device.kill()
    with device.snapshot() as snapshot:
        device.revive()
        memory[0:4] = b"lost"
        device.kill()
        device.restore(snapshot)
        with pytest.raises(DaxBusError):
            memory[0]
        device.revive()
        assert memory[0:4] == b"keep"


def test_another_size_and_a_closed_snapshot_are_refused():
    with Engine() as engine:
        device = engine.add_region("8M", provider="hmem").create_device("4M")
        snapshot = device.snapshot()
        device.resize("6M")
        with pytest.raises(KernelError, match="has 6291456 bytes, the snapshot is of 4194304 bytes") as caught:
            device.restore(snapshot)
        assert caught.value.errno == errno.EINVAL
        device.resize("4M")
        device.restore(snapshot)
        snapshot.close()
        with pytest.raises(KernelError, match="the snapshot is closed"):
            device.restore(snapshot)


TEMPLATE = """
    import pytest

    prepared = []

    @pytest.fixture(scope="session")
    def pool(dax_template):
        def prepare(device):
            prepared.append(device.name)
            with device.open() as file, file.mmap() as memory:
                memory[0:4] = b"pool"
        return dax_template(prepare, size="8M", provider="hmem")

    @pytest.mark.parametrize("spoil", ["write", "kill", "unbind", "resize", "nothing"])
    def test_each_gets_it_as_prepared(dax_clone, pool, spoil):
        device = dax_clone(pool)
        assert (prepared, device.size, device.alive) == ([device.name], 8 << 20, True)
        with device.open() as file, file.mmap() as memory:
            assert memory[0:5] == b"pool\\0"
            memory[0:5] = b"spoil"
        if spoil == "kill":
            device.kill()
        elif spoil == "unbind":
            device.engine.write_attribute("/sys/bus/dax/drivers/device_dax/unbind", device.name)
        elif spoil == "resize":
            device.resize("4M")
"""


def test_a_prepared_device_is_handed_to_each_test_afresh(pytester):
    pytester.makepyfile(TEMPLATE)
    pytester.runpytest("-W", "error").assert_outcomes(passed=5)


def test_each_worker_prepares_its_own(pytester):
    pytester.makepyfile(TEMPLATE)
    pytester.runpytest("-W", "error", "-n", "2").assert_outcomes(passed=5)
