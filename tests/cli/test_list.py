"""``daxemu list``."""

import json
from pathlib import Path

import pytest

from .conftest import DAXEMU, error_line

TWO_REGIONS = ("--region", "size=16M,align=4K", "--region", "size=32M,provider=hmem")


@pytest.fixture
def running(start):
    """A run with two devices."""
    process = start("run", *TWO_REGIONS, "--", "sh", "-c", "echo ready; read line")
    assert process.stdout.readline() == "ready\n"
    return process


def test_without_a_session_it_says_how_to_start_one(daxemu):
    result = daxemu("list")

    assert result.returncode == 0
    assert result.stdout == "There are no devices. Make some with: daxemu run -- CMD, daxemu shell, or daxemu serve\n"


def test_without_a_session_the_json_is_an_empty_list(daxemu):
    assert json.loads(daxemu("list", "--json").stdout) == []


def test_json_tells_everything_about_the_devices_of_a_running_session(running, daxemu, sessions):
    devices = json.loads(daxemu("list", "--json").stdout)

    major = devices[0]["devt"].partition(":")[0]
    common = {"alive": True, "session": str(sessions()[0]), "pid": running.pid}
    assert devices == [
        {"chardev": "dax0.0", "devt": f"{major}:0", "size": 16 << 20, "align": 4096} | common,
        {"chardev": "dax1.0", "devt": f"{major}:1", "size": 32 << 20, "align": 2 << 20} | common,
    ]


def test_the_table_has_a_line_for_each_device(running, daxemu, sessions):
    (session,) = sessions()
    header, *lines = [line.split() for line in daxemu("list").stdout.splitlines()]

    assert header == ["Device", "Number", "Size", "Align", "State", "Session", "Engine"]
    assert [line[0] for line in lines] == ["/dev/dax0.0", "/dev/dax1.0"]
    assert lines[0][2:] == ["16M", "4K", "alive", session.name, "pid", str(running.pid)]


def test_from_outside_all_sessions_are_seen(running, start, daxemu):
    other = start("run", "--", "sh", "-c", "echo ready; read line")
    other.stdout.readline()

    devices = json.loads(daxemu("list", "--json").stdout)

    assert sorted(device["pid"] for device in devices) == sorted([running.pid, running.pid, other.pid])


def test_from_inside_a_session_only_its_own_devices_are_seen(running, daxemu):
    devices = json.loads(daxemu("run", "--region", "size=8M", "--", *DAXEMU, "list", "--json").stdout)

    assert [(device["chardev"], device["size"]) for device in devices] == [("dax0.0", 8 << 20)]


def test_the_numbers_are_those_that_programs_see(daxemu):
    script = f"stat -c %Hr:%Lr /dev/dax0.0; {' '.join(DAXEMU)} list --json"

    number, _, listed = daxemu("run", "--", "sh", "-c", script).stdout.partition("\n")

    assert json.loads(listed)[0]["devt"] == number


def test_the_session_of_a_killed_engine_is_not_listed(running, daxemu, sessions):
    running.kill()
    running.wait()

    assert json.loads(daxemu("list", "--json").stdout) == []
    daxemu("gc")


def test_a_session_that_is_just_being_made_is_not_listed(running, daxemu, sessions):
    table = Path(sessions()[0], "table")
    hidden = table.rename(table.with_name("hidden"))
    table.touch()

    assert json.loads(daxemu("list", "--json").stdout) == []
    hidden.rename(table)


def test_inside_a_session_that_has_ended_it_says_so(daxemu, monkeypatch, tmp_path):
    monkeypatch.setenv("DAXEMU_SESSION", str(tmp_path))

    result = daxemu("list")

    assert result.returncode == 2
    assert error_line(result).startswith(f"DAXEMU_SESSION={tmp_path}: ")
