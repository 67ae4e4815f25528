"""Everything that users can name is in the reference."""

from __future__ import annotations

import inspect
import re

import click
import pytest

import daxemu
import daxemu.cli
import daxemu.cli._group
from daxemu import hookspecs
from tests.docs.pages import DOCS


def _page(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", daxemu.__all__)
def test_public_name(name):
    assert f"`{name}" in _page("python-api")


def _members() -> list[str]:
    """Public methods and properties of the public classes, except what exceptions have from Python."""
    classes = [getattr(daxemu, name) for name in daxemu.__all__ if inspect.isclass(getattr(daxemu, name))]
    return [
        f"{cls.__name__}.{name}"
        for cls in classes
        for name, value in vars(cls).items()
        if name[0] != "_" and (inspect.isfunction(value) or isinstance(value, property))
    ]


# Of the engine's own machinery: not for users, though without an underscore.
_INTERNAL = {"Engine.create_backing", "Engine.publish", "DaxFile.maps"}


@pytest.mark.parametrize("member", [m for m in _members() if m not in _INTERNAL])
def test_public_member(member):
    page = _page("python-api")
    section = page.split(f"### `{member.split('.')[0]}", 1)[1].split("\n### ", 1)[0]
    assert f"`{member}(" in section or f"* `{member.split('.')[1]}:" in section


@pytest.mark.parametrize("name", [name for name, value in vars(hookspecs).items() if hasattr(value, "daxemu_spec")])
def test_hook_with_its_exact_signature(name):
    signature = str(inspect.signature(getattr(hookspecs, name))).replace("'", "")
    assert f"`{name}{signature.removesuffix(' -> None')}`" in _page("hooks")


def test_every_fixture(pytester):
    shown = pytester.runpytest("--fixtures").stdout.str()
    ours = re.findall(r"^(\w+) .*-- \S*daxemu/pytest_plugin\.py", shown, re.MULTILINE)
    assert ours
    assert [name for name in ours if f"### `{name}`" not in _page("fixtures")] == []


def test_every_setting_of_the_pytest_plugin(pytestconfig):
    options = {name.removeprefix("daxemu_") for name in vars(pytestconfig.option) if name.startswith("daxemu_")}
    assert options
    page = _page("fixtures")
    assert {name for name in options if f"`{name}=` | `--daxemu-{name}` | `daxemu_{name}`" not in page} == set()


def _command_options() -> list[tuple[str, str]]:
    root = daxemu.cli._group.daxemu
    commands = {"daxemu": root}
    commands |= {f"daxemu {name}": root.get_command(click.Context(root), name) for name in daxemu.cli.COMMANDS}
    groups = {name: command for name, command in commands.items() if name != "daxemu" and hasattr(command, "commands")}
    commands |= {f"{name} {below}": inner for name, group in groups.items() for below, inner in group.commands.items()}
    return [(name, option) for name, command in commands.items() for p in command.params for option in p.opts]


@pytest.mark.parametrize(("command", "option"), _command_options())
def test_command_line_option(command, option):
    section = _page("cli").split(f"\n## {command}\n", 1)[1].split("\n## ", 1)[0]
    assert (option if option.startswith("-") else option.upper()) in section
