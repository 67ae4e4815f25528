"""``daxemu doctor``."""

import os
import shutil

import pytest

from tests.backing.installed import install
from tests.conftest import require

from .conftest import error_line
from .test_plugins import TAPE


@pytest.fixture
def doctor(daxemu, monkeypatch):
    """Exit status, and the findings by name, each with its mark."""
    monkeypatch.setenv("COLUMNS", "1000")

    def call(*arguments):
        result = daxemu("doctor", *arguments)
        findings = {}
        for line in result.stdout.splitlines():
            mark, what, value = (part.strip() for part in (line[:3], *line[3:].split("  ", 1)))
            findings[what] = (mark, value)
        return result.returncode, findings

    return call


def test_on_a_machine_where_all_works_every_check_has_its_tick(doctor):
    status, findings = doctor()

    assert status == 0
    checks = ("session directory", "preload library", "revoking mappings", "backend tmpfs")
    assert {what: findings[what][0] for what in checks} == dict.fromkeys(checks, "✓")


def test_what_does_not_work_is_marked_and_fails(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("DAXEMU_SESSIONS_DIR", str(tmp_path / "absent"))

    status, findings = doctor()

    assert status == 1
    assert findings["session directory"][0] == "✗"


def test_a_store_that_is_not_set_up_is_told_and_fails_nothing(doctor, tmp_path, monkeypatch):
    install(tmp_path, "tape", "2.5", TAPE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    status, findings = doctor()

    assert status == 0
    assert findings["backend tape"] == ("", "no tape in [drive0]; insert one")


def test_a_dynamic_program_can_be_reached(doctor):
    status, findings = doctor("dd")

    assert status == 0
    assert findings["program"] == ("", shutil.which("dd"))
    assert findings["kind"] == ("", "dynamic")
    assert "ftruncate" in findings["functions that daxemu takes over"][1].split(", ")
    assert findings["verdict"] == ("✓", "daxemu reaches it through the preload library")


def test_a_static_program_cannot(doctor):
    status, findings = doctor(require("busybox", "busybox-static"))

    assert status == 1
    assert findings["kind"] == ("", "static")
    assert findings["verdict"][0] == "✗"
    assert "it is statically linked" in findings["verdict"][1]


def test_a_setuid_program_cannot(doctor, setuid_program):
    status, findings = doctor(setuid_program)

    assert status == 1
    assert "it is setuid" in findings["verdict"][1]


def test_a_script_is_as_reachable_as_what_runs_it(doctor, tmp_path):
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    inner.write_text("#!/bin/sh\n")
    outer.write_text(f"#!{inner}\n")
    for script in (outer, inner):
        script.chmod(0o755)

    status, findings = doctor(outer)

    assert status == 0
    assert findings["kind"] == ("", "script")
    assert findings["interpreter"] == ("", "/bin/sh")


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program"])
def test_a_program_that_is_not_there_is_one_line(daxemu, name):
    result = daxemu("doctor", name)

    assert result.returncode == 2
    assert error_line(result).startswith(f"{name}: ")


def test_nothing_is_cut_off_where_there_is_little_room(daxemu, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")

    output = "".join(daxemu("doctor").stdout.split())

    assert "/daxemu/libdaxemu-preload.so(" in output
