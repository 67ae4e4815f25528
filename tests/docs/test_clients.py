"""Every verdict about a program is that of a test which is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DOCS

ROWS = [line for line in (DOCS / "reference" / "clients.md").read_text().splitlines() if line.startswith("| ")][2:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rpartition("::")[2].strip("` |"))
def test_a_verdict_has_its_test(row):
    *_, test, _ = (cell.strip() for cell in row.split("|"))
    path, _, name = test.strip("`").partition("::")
    assert re.search(rf"^def {name}\(", (DOCS.parent / "tests" / path).read_text(), re.MULTILINE), test


def test_every_file_of_client_tests_that_is_about_a_program_is_in_the_table():
    table = "\n".join(ROWS)
    for name in ("ndctl", "daxctl", "daxctl_changes", "daxio", "pmempool", "pmdk", "fio", "qemu"):
        assert f"clients/test_{name}.py::" in table
