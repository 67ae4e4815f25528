"""Every limit of crash states has tests, and every such test is of a limit that the page tells."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DOCS

PAGE = (DOCS / "explanation" / "crash-soundness.md").read_text()
TESTS = (DOCS.parent / "tests" / "pmem" / "test_limits.py").read_text()
LIMITS = re.split(r"^## States that were not tried", PAGE, flags=re.MULTILINE)[0].split("\n\n**")[1:]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.partition(".**")[0])
def test_a_limit_has_its_tests(limit):
    assert re.search(r"Tests?: `", limit)


def test_the_tests_are_those_that_are_there():
    assert sorted(re.findall(r"`(test_\w+)`", PAGE)) == sorted(re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE))
