"""docs/explanation/seed.md names source and tests that exist, and leaves nothing of the change out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import daxemu

HERE = Path(__file__).parent
SOURCE = Path(daxemu.__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "explanation" / "seed.md"

IN_THE_CHANGE = """
    DAXFS_MAGIC nr_dax dax_mnt dax_superblock dax_cache dax_dev inode dax_alloc_inode dax_i_callback dax_destroy_inode
    dax_sops dax_mount dax_type dax_test dax_set dax_inode_get init_once dax_inode_init err_register_fs err_mount
    dax_inode_exit dax_open inode->i_mapping inode->i_mapping->host filp->f_mapping inode->i_flags dax_dev_release iput
    devm_create_dax_dev err_inode err_cdev err_minor err_id dax_init err_chrdev err_class dax_exit cd_forget
""".split()  # noqa: SIM905


def tables() -> list[list[list[str]]]:
    """The rows of each table of the document, as lists of cells, without head and rule."""
    found: list[list[list[str]]] = []
    previous = ""
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("|"):
            if not previous.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        previous = line
    return [table[2:] for table in found]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


THE_CHANGE, THE_DEFECTS = tables()


def named_sources() -> Iterator[tuple[str, str]]:
    for row in THE_CHANGE:
        file = ""
        for text in quoted(row[2]):
            if text.endswith(".py"):
                file = text
            else:
                yield file, text


def names_in(body: list[ast.stmt]) -> dict[str, ast.AST]:
    """What a module or a class defines: functions, classes, assigned and annotated names."""
    found: dict[str, ast.AST] = {}
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.ClassDef():
                found[statement.name] = statement
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = statement
            case ast.Assign():
                found |= {target.id: statement for target in statement.targets if isinstance(target, ast.Name)}
    return found


def members_of(cls: ast.ClassDef) -> dict[str, ast.AST]:
    """Also what its methods assign to ``self``."""
    assigned = {
        node.attr: node
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    return names_in(cls.body) | assigned


def defines(file: Path, dotted: str) -> bool:
    names = names_in(ast.parse(file.read_text()).body)
    for part in dotted.split("."):
        found = names.get(part)
        if found is None:
            return False
        names = members_of(found) if isinstance(found, ast.ClassDef) else {}
    return True


@pytest.mark.parametrize(("file", "name"), sorted(set(named_sources())))
def test_a_named_source_exists(file: str, name: str):
    assert defines(SOURCE / file, name)


@pytest.mark.parametrize(
    "test", sorted({test for table in (THE_CHANGE, THE_DEFECTS) for row in table for test in quoted(row[-1])})
)
def test_a_named_test_exists(test: str):
    file, _, name = test.partition("::")
    assert name.startswith("test_")
    assert defines(HERE / file, name)


@pytest.mark.parametrize("name", IN_THE_CHANGE)
def test_everything_in_the_change_has_a_row(name: str):
    assert any(name in quoted(row[0]) for row in THE_CHANGE)


def test_every_row_is_complete():
    for row in THE_CHANGE:
        assert len(row) == 4
        assert all(quoted(row[column]) for column in (0, 2, 3))
        assert row[1]


def test_each_of_the_ten_defects_has_tests_named_for_it():
    assert [row[0] for row in THE_DEFECTS] == [str(number) for number in range(1, 11)]
    for number, _, tests in THE_DEFECTS:
        assert quoted(tests)
        assert all(f"::test_defect_{number}_" in test for test in quoted(tests))


def test_every_test_of_a_defect_is_in_the_table():
    written = {
        name for name in names_in(ast.parse((HERE / "test_seed_defects.py").read_text()).body) if "test_" in name
    }
    named = {test.partition("::")[2] for row in THE_DEFECTS for test in quoted(row[2])}
    assert named == written
