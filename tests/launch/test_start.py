"""``run`` and ``popen``: the subprocess module, with devices."""

import os
import subprocess
from pathlib import Path

import pytest

from daxemu import Engine


@pytest.fixture
def engine():
    with Engine() as machine:
        machine.add_region("4M")
        yield machine


SEES = ["test", "-c", "/dev/dax0.0"]


def test_engine_region_and_device_start_programs_alike(engine):
    for launcher in (engine, engine.regions[0], engine.devices[0]):
        assert launcher.run(SEES).returncode == 0


def test_the_arguments_are_those_of_subprocess(engine):
    result = engine.run(["sh", "-c", "cat; exit 3"], input="hello", capture_output=True, text=True)

    assert (result.args, result.returncode, result.stdout) == (["sh", "-c", "cat; exit 3"], 3, "hello")
    with pytest.raises(subprocess.CalledProcessError):
        engine.run(["false"], check=True)


def test_popen_returns_a_process(engine):
    with engine.popen(["sh", "-c", "read line; test -c $line"], stdin=subprocess.PIPE, text=True) as process:
        process.communicate("/dev/dax0.0\n")

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ("test -c /dev/dax0.0", {"shell": True}),
        ("true", {}),
        (Path("/bin/true"), {}),
        (b"/bin/true", {}),
        (["anything", "-c", "test -c /dev/dax0.0"], {"executable": "/bin/sh"}),
        ([b"test", Path("-c"), "/dev/dax0.0"], {}),
    ],
)
def test_a_program_is_named_in_all_the_ways_of_subprocess(engine, args, options):
    assert engine.run(args, **options).returncode == 0


def test_a_given_environment_is_completed_and_not_changed(engine):
    given = {"PATH": os.environ["PATH"], "FLAVOUR": "vanilla"}
    before = dict(given)

    output = engine.run(["env"], env=given, capture_output=True, text=True).stdout

    names = {line.partition("=")[0] for line in output.splitlines()}
    assert names == {"PATH", "FLAVOUR", "DAXEMU_SESSION", "LD_PRELOAD"}
    assert given == before


def test_the_program_is_looked_up_in_the_given_path(engine, executable):
    program = executable("program", "#!/bin/sh\nexit 3\n")

    assert engine.run(["program"], env={"PATH": str(program.parent)}).returncode == 3


def test_a_relative_program_is_looked_up_in_the_given_directory(engine, executable):
    program = executable("program", "#!/bin/sh\nexit 3\n")

    assert engine.run(["./program"], cwd=program.parent).returncode == 3


@pytest.mark.parametrize("given", ["libm.so.6", "libm.so.6 libdl.so.2"])
def test_libraries_that_the_given_environment_preloads_stay_behind_ours(engine, given):
    ours = engine.environ()["LD_PRELOAD"]

    output = engine.run(["env"], env=os.environ | {"LD_PRELOAD": given}, capture_output=True, text=True).stdout

    assert f"LD_PRELOAD={ours} {given}" in output.splitlines()


def test_a_program_that_would_not_see_the_devices_is_refused(engine, built):
    with pytest.raises(PermissionError, match="would not see the devices: it is statically linked"):
        engine.run([built("-static")])


def test_a_program_that_is_not_there_is_not_found(engine):
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        engine.popen(["no-such-program"])
