"""Every way out of the engine made to fail, at every step: the operation is undone, and works afterwards."""

import pytest

from daxemu import Engine, KernelError
from daxemu.backing.tmpfs import TmpfsStore
from daxemu.session.projection import Projection
from daxemu.session.table import Table


class InjectedError(OSError):
    pass


def seen(engine) -> tuple:
    listed = engine.run(
        "ls -R /sys/bus/dax /dev/dax*; cat /sys/bus/dax/devices/*/{size,uevent} "
        "/sys/devices/platform/hmem.*/dax_region/available_size",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    model = [
        (region.id, region.available_size, [(d.name, d.size, d.alive, d.devt) for d in region.devices])
        for region in engine.regions
    ]
    return model, listed.stdout


OPERATIONS = {
    "add_region": lambda engine: engine.add_region("4M"),
    "create_device": lambda engine: engine.regions[0].create_device("4M"),
    "grow": lambda engine: engine.devices[0].resize("16M"),
}

STEPS = [
    (TmpfsStore, "create"),
    (TmpfsStore, "resize"),
    (Projection, "_write"),
    (Table, "check_room"),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("owner", "method"), STEPS, ids=lambda value: getattr(value, "__name__", value))
def test_a_failure_outside_the_model_is_undone(monkeypatch, operation, owner, method):
    with Engine() as engine:
        engine.add_region("64M", provider="hmem").create_device("8M")
        with engine.devices[0].open() as file, file.mmap() as memory:
            memory[:5] = b"alive"
            before = seen(engine)
            original = getattr(owner, method)
            for step in (*range(1, 30), *range(30, 600, 19)):
                calls = iter(range(1, 10000))

                def failing(*args, _calls=calls, _step=step, **kwargs):
                    if next(_calls) == _step:
                        raise InjectedError(f"{method} call {_step}")
                    return original(*args, **kwargs)

                monkeypatch.setattr(owner, method, failing)
                try:
                    OPERATIONS[operation](engine)
                except (InjectedError, KernelError):
                    monkeypatch.setattr(owner, method, original)
                    assert seen(engine) == before, f"after failure of call {step}"
                    assert memory[:5] == b"alive"
                else:
                    break
            else:
                pytest.fail("the operation never got past the failures")
            monkeypatch.setattr(owner, method, original)
            assert seen(engine) != before
