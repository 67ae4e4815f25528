"""Test runs inside a test run."""

import pytest


@pytest.fixture
def pytester(pytester, monkeypatch):
    """The fixture of pytest; its runs do not load Hypothesis, which takes a second to import."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    return pytester
