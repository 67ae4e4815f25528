"""How tests ask for client programs."""

import shutil

import pytest

from tests.conftest import require


def test_a_program_that_is_installed_is_found():
    assert require("sh") == shutil.which("sh")


@pytest.mark.parametrize(
    ("environment", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)], ids=["CI", "elsewhere"]
)
def test_a_missing_program_skips_the_test_and_fails_it_in_ci(monkeypatch, environment, outcome):
    monkeypatch.setenv("CI", environment)

    with pytest.raises(outcome, match=r"^no-such-program is not installed: apt-get install its-package$"):
        require("no-such-program", "its-package")
