"""Power failures of a running session, and the recording that says what is durable."""

import json
import shlex
import signal
import subprocess
import sys

import pytest

from tests.pmem.logs import told

from .conftest import DAXEMU, PATIENCE, error_line, until


def first_bytes(device, steps):
    """Of what so many steps of the program have stored."""
    with device.open("r") as file, file.mmap() as m:
        return m.read(0, 256 * steps)[::256]


def test_a_rig_whose_power_fails_again_and_again(daxemu, engine, durable):
    name = "dax0.0"

    def run(*steps):
        return daxemu("run", "--session", "rig", "--", durable, f"/dev/{name}", *steps)

    assert daxemu("device", "record", name).returncode == 0
    assert run("persist", "store").returncode == 0
    failed = daxemu("device", "power-fail", f"/dev/{name}")
    assert (failed.returncode, failed.stdout) == (0, f"{name}: 1 line of 64 bytes has lost something\n")
    assert first_bytes(engine.devices[0], 2) == b"x\0"

    assert run("store", "persist", "store").returncode == 0
    assert daxemu("device", "power-fail", "--policy", "all", name).stdout == (
        f"{name}: no lines of 64 bytes have lost something\n"
    )
    assert first_bytes(engine.devices[0], 3) == b"sxs"
    assert run("persist", "flush").returncode == 0
    assert daxemu("reboot").stdout == "1 line of 64 bytes has lost something\n"
    assert first_bytes(engine.devices[0], 3) == b"xxs"
    assert daxemu("device", "stop-recording", name).returncode == 0
    assert error_line(daxemu("device", "stop-recording", name)) == f"{name} is not being recorded"


@pytest.mark.parametrize(("step", "status"), [("store", -signal.SIGBUS), ("map-anew", 0)])
def test_a_program_that_runs_on_has_lost_its_mapping_and_may_map_anew(daxemu, engine, durable, tmp_path, step, status):
    assert daxemu("device", "record", "dax0.0", "--output", tmp_path / "rec").returncode == 0
    program = [str(durable), "/dev/dax0.0", "persist", "wait", step, "persist"]
    with engine.devices[0].popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"w"
        assert daxemu("device", "power-fail", "dax0.0").returncode == 0
        process.communicate(b"w", timeout=PATIENCE)
    assert process.returncode == status
    assert daxemu("device", "stop-recording", "dax0.0").returncode == 0
    written = [("store", 768, 64), ("persist", 768, 1)]
    expected = [("store", 0, 64), ("persist", 0, 1), ("persist", 0, 4 << 20)]
    assert told(tmp_path / "rec") == expected + (written if status == 0 else [])


def test_a_program_that_is_stopped_takes_no_part_and_that_is_told(daxemu, engine, durable):
    program = [str(durable), "/dev/dax0.0", "wait", "persist", "wait"]
    with engine.devices[0].popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"w"
        process.send_signal(signal.SIGSTOP)
        result = daxemu("device", "record", "dax0.0")
        assert result.returncode == 0
        assert error_line(result) == (
            "dax0.0: asked to take part in the recording: "
            f"process {process.pid} (state T (stopped)) has not done it yet; "
            "what it makes durable until then is lost when the power fails"
        )
        process.send_signal(signal.SIGCONT)
        until(lambda: not engine._wiring.session.have_joined(engine.devices[0]._device))
        process.stdin.write(b"w")
        process.stdin.flush()
        assert process.stdout.read(1) == b"w"
        assert daxemu("device", "power-fail", "dax0.0").stdout == "dax0.0: no lines of 64 bytes have lost something\n"
    assert first_bytes(engine.devices[0], 2) == b"\0x"


def test_a_recording_of_a_running_session_is_one_as_any_other(daxemu, engine, durable, tmp_path):
    begun = subprocess.run(
        [*DAXEMU, "device", "record", "dax0.0", "-o", "rec", "--scan", "none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (begun.returncode, begun.stdout, begun.stderr) == (0, "", "")
    for steps in (["persist"], ["flush", "drain"]):
        assert daxemu("run", "--session", "rig", "--", durable, "/dev/dax0.0", *steps).returncode == 0
    assert daxemu("device", "power-fail", "dax0.0").returncode == 0
    assert daxemu("run", "--session", "rig", "--", durable, "/dev/dax0.0", "persist").returncode == 0
    assert daxemu("device", "stop-recording", "dax0.0").returncode == 0

    one, other = [("store", 0, 64), ("persist", 0, 1)], [("store", 0, 64), ("flush", 0, 1), "fence"]
    assert told(tmp_path / "rec") == [*one, *other, ("persist", 0, 4 << 20), *one]
    check = shlex.join(
        [sys.executable, "-c", r"import sys; sys.exit(open(sys.argv[1], 'rb').read(1) not in b'\0xf')", "{image}"]
    )
    explored = daxemu("crash", "explore", tmp_path / "rec", "--json", "--check", check)
    assert explored.returncode == 0, explored.stderr
    assert json.loads(explored.stdout)["states"] == 3  # that of the beginning, and two


def test_where_the_device_is_gone_its_recording_can_still_be_stopped(daxemu, engine, tmp_path):
    assert daxemu("device", "record", "dax1.0", "--output", tmp_path / "rec").returncode == 0
    engine.regions[1].remove()
    assert daxemu("device", "stop-recording", "dax1.0").returncode == 0
    assert told(tmp_path / "rec") == []


def test_a_recording_ends_with_its_session(daxemu, engine, durable, tmp_path):
    assert daxemu("device", "record", "dax0.0", "-o", tmp_path / "rec").returncode == 0
    assert daxemu("run", "--session", "rig", "--", durable, "/dev/dax0.0", "persist").returncode == 0
    engine.close()
    assert "PERSIST" in daxemu("crash", "show", tmp_path / "rec").stdout.upper()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["device", "power-fail", "dax0.0"],
            "nothing tells what of dax0.0 is durable: record it first, by device.record() or "
            "'daxemu device record dax0.0', or fail with 'all'",
        ),
        (
            ["reboot", "--policy", "most"],
            "policy 'most': give 'none', 'all', or a number as the seed of a random choice",
        ),
        (
            ["device", "record", "dax0.0", "dax1.0", "-o", "rec"],
            "--output rec is for one recording; record each device by a command of its own",
        ),
        (["device", "power-fail", "dax0.0", "--output", "x"], "--output is not for 'power-fail'; leave it out"),
        (
            ["device", "record", "dax0.0", "--output", "/nowhere/x"],
            "/nowhere/x: No such file or directory; the recording is a new directory in one that is there",
        ),
        (
            ["device", "record", "dax0.0", "--scan", "often"],
            "scan 'often': say none, fences, flushes, markers, or at each how many fences",
        ),
    ],
)
def test_what_is_refused_is_told_in_a_line(daxemu, engine, arguments, text):
    result = daxemu(*arguments)
    assert result.returncode == 2
    assert error_line(result) == text
    assert not engine._recorders
