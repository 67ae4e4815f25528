"""``daxemu run`` without click is parsed as click would parse it, or is left to click."""

import re
import subprocess
import sys

import click
import pytest

from daxemu.cli._group import daxemu
from daxemu.cli._options import parse_simply
from daxemu.cli.run import OPTIONS

LINES = [
    "true",
    "-- true",
    "true --region size=1G -- -x",
    "-- true -- --",
    "-- -x",
    "--region size=1G -- true",
    "--region=size=1G --region align=4K --kernel 6.1 true --kernel",
    "--kernel= true",
    "--kernel -- true",
    "--session a --session b -- true a b",
    "--region -x true",
    "--kmsg -- true",
    "--kmsg --kmsg true --kmsg",
]
LEFT_TO_CLICK = [
    "",
    "--",
    "--region",
    "--region size=1G",
    "--help",
    "-h -- true",
    "--regio size=1G -- true",
    "-x true",
    "--kmsg=1 -- true",
]


@pytest.mark.parametrize("line", LINES)
def test_as_click_does(line):
    arguments = line.split(" ")
    command = daxemu.get_command(click.Context(daxemu), "run")
    wanted = command.make_context("run", list(arguments)).params

    values, cmd = parse_simply(arguments, OPTIONS)

    assert values | {"cmd": tuple(cmd)} == wanted


@pytest.mark.parametrize("line", LEFT_TO_CLICK)
def test_what_needs_an_explanation_is_left_to_click(line):
    assert parse_simply(line.split(), OPTIONS) is None


def test_a_start_imports_nothing_that_it_can_do_without():
    line = [sys.executable, "-X", "importtime", "-m", "daxemu", "run", "--region", "size=4M", "--", "true"]
    result = subprocess.run(line, capture_output=True, text=True, check=True)
    imported = {name.strip() for name in re.findall(r"\|([^|\n]+)$", result.stderr, re.MULTILINE)}
    assert "daxemu.session.session" in imported

    dear = {"click", "rich", "pluggy", "elftools", "importlib.metadata", "json", "logging", "dataclasses", "inspect"}
    dear |= {"subprocess", "tempfile", "shutil", "random", "string", "daxemu.control", "daxemu.session.listing"}
    assert imported & dear == set()
