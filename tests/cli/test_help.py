"""``--help`` and ``--version``."""

import pkgutil
import subprocess
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

from daxemu import __version__, cli

COMMANDS = [module.name for module in pkgutil.iter_modules(cli.__path__) if not module.name.startswith("_")]


def test_help_lists_every_command(daxemu):
    output = daxemu("--help").stdout

    listed = [line.split()[0] for line in output.partition("Commands:")[2].splitlines() if line[2:3].strip()]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_explains_itself(daxemu, command, option):
    result = daxemu(command, option)

    usage, _, text = result.stdout.partition("\n\n")
    assert result.returncode == 0
    assert f" {command} " in usage
    assert text.partition("Options:")[0].strip()


def test_an_unknown_command_is_a_usage_error(daxemu):
    result = daxemu("fly")

    assert result.returncode == 2
    assert "'fly'" in result.stderr


def test_the_version_is_that_of_the_package(daxemu):
    assert daxemu("--version").stdout == f"daxemu {__version__}\n"
    assert version("daxemu") == __version__


def test_the_installed_script_is_the_same_command(daxemu):
    script = Path(sysconfig.get_path("scripts"), "daxemu")

    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout

    assert shown.partition("\n\n")[2] == daxemu("--help").stdout.partition("\n\n")[2]
