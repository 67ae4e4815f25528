"""The files below /sys are written when the first program looks there."""

import os
import subprocess
from pathlib import Path

import pytest

from daxemu import Engine
from daxemu.session.projection import Projection


@pytest.fixture
def engine():
    with Engine() as engine:
        engine.add_region("4M")
        yield engine


def written(engine):
    session = Path(engine.environ()["DAXEMU_SESSION"])
    return [path for path in (session / "sys").rglob("*") if not path.is_dir()]


def test_a_program_that_does_not_look_costs_no_files(engine):
    engine.run(["true"], check=True)
    engine.run(["test", "-c", "/dev/dax0.0"], check=True)
    assert written(engine) == []
    engine.run(["test", "-d", "/sys/bus/dax"], check=True)
    assert written(engine)


@pytest.mark.parametrize(
    "look",
    [
        "cat /sys/bus/dax/devices/dax0.0/size",
        "cd /sys/bus/dax/devices/dax0.0/ && cat size",
        "cd / && cat sys/bus/dax/devices/dax0.0/size",
        "cat /sys/bus/dax/devices/dax0.0/../dax0.0/size",
        "cat /sys/class/../bus/dax/devices/dax0.0/size",
        "cat $(find /sys/bus/dax/devices -name dax0.0)/size",
        "cat $(readlink -f /sys/dev/char/$(($(stat -c 0x%t /dev/dax0.0))):0)/size",
    ],
)
def test_each_way_to_look_finds_what_is_there(engine, look):
    shown = engine.run(["sh", "-c", look], check=True, capture_output=True, text=True)
    assert shown.stdout == f"{4 << 20}\n"


def test_what_was_looked_at_is_kept_up_to_date(engine):
    count = ["sh", "-c", "ls /sys/bus/dax/devices | wc -l"]
    assert engine.run(count, capture_output=True, text=True).stdout == "1\n"
    engine.add_region("4M")
    assert engine.run(count, capture_output=True, text=True).stdout == "2\n"


def test_a_look_that_failed_is_not_the_last(engine, monkeypatch):
    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    look = ["cat", "/sys/bus/dax/devices/dax0.0/size"]
    engine.environ()
    with monkeypatch.context() as patch:
        patch.setattr(Projection, "_put", full)
        assert engine.run(look, capture_output=True).returncode == 1
    assert written(engine) == []
    assert engine.run(look, capture_output=True, text=True).stdout == f"{4 << 20}\n"


def test_many_may_look_first(engine):
    environment = {**os.environ, **engine.environ()}
    looks = [
        subprocess.Popen(["cat", "/sys/bus/dax/devices/dax0.0/size"], env=environment, stdout=subprocess.PIPE)
        for _ in range(20)
    ]
    assert {look.communicate()[0] for look in looks} == {b"%d\n" % (4 << 20)}
