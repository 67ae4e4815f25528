"""``daxemu plugins``."""

import json
import os

import pytest

from daxemu import __version__
from tests.backing.installed import install

from .conftest import error_line

TAPE = """
import daxemu
from daxemu.backing import BackingStore, Probe

class TapeStore(BackingStore):
    name = "tape"

    @classmethod
    def probe(cls, where=""):
        return Probe(False, "no tape in [drive0]", "insert one")

    def create(self, label, size):
        raise NotImplementedError

@daxemu.hookimpl
def daxemu_register_backends():
    return [TapeStore]
"""


@pytest.fixture
def tape(tmp_path, monkeypatch):
    """An installed plugin with a store that does not work here."""
    install(tmp_path, "tape", "2.5", TAPE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


def test_the_built_in_store_is_a_plugin_like_any_other(daxemu):
    plugins = json.loads(daxemu("plugins", "--json").stdout)

    [builtin] = [plugin for plugin in plugins if plugin["name"] == "builtin"]
    assert builtin["version"] == __version__
    assert builtin["backends"]["tmpfs"].startswith("available: ")


def test_json_tells_of_an_installed_plugin_and_why_its_store_does_not_work(daxemu, tape):
    plugins = json.loads(daxemu("plugins", "--json").stdout)

    backends = {"tape": "no tape in [drive0]; insert one"}
    assert {"name": "tape", "version": "2.5", "backends": backends} in plugins


def test_the_table_shows_the_same(daxemu, tape):
    lines = [" ".join(line.split()) for line in daxemu("plugins").stdout.splitlines()]

    assert lines[0] == "Plugin Version Backend State"
    assert "tape 2.5 tape no tape in [drive0]; insert one" in lines


def test_a_plugin_without_stores_is_shown(daxemu, tmp_path, monkeypatch):
    install(tmp_path, "quiet", "1.0", "")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    assert "quiet 1.0 –" in [" ".join(line.split()) for line in daxemu("plugins").stdout.splitlines()]


def test_a_run_on_a_store_that_does_not_work_here_says_what_would_help(daxemu, tape):
    result = daxemu("run", "--region", "backend=tape", "--", "true")

    assert result.returncode == 2
    assert error_line(result) == "backend 'tape' does not work here: no tape in [drive0]; insert one"


@pytest.mark.parametrize("wrong", ["register_backend()", "register_backends(config)"])
def test_a_broken_plugin_is_named_in_one_line(daxemu, tmp_path, monkeypatch, wrong):
    install(tmp_path, "broken", "1.0", TAPE.replace("register_backends()", wrong))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    result = daxemu("plugins")

    assert result.returncode == 2
    assert "broken: " in error_line(result)


GREETER = """
import click
import daxemu

@click.command()
@click.argument("who")
def greet(who):
    "Say hello."
    print("hello,", who)

@click.command("list")
def usurper():
    "Not to be."

@daxemu.hookimpl
def daxemu_register_commands():
    return [greet, usurper]
"""


@pytest.fixture
def greeter(tmp_path, monkeypatch):
    install(tmp_path, "greeter", "1.0", GREETER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


def test_a_plugin_adds_a_command(daxemu, greeter):
    assert daxemu("greet", "world").stdout == "hello, world\n"
    assert "Commands of plugins:\n  greet  Say hello.\n" in daxemu("--help").stdout


def test_a_plugin_replaces_no_command_of_ours(daxemu, greeter):
    result = daxemu("list")
    assert result.returncode == 0
    assert "Not to be" not in daxemu("list", "--help").stdout


def test_an_unknown_command_is_an_error_with_plugins_too(daxemu, greeter):
    assert daxemu("depart").returncode == 2
