"""Machines with a region."""

from __future__ import annotations

import pytest

from tests.sysfs.machine import Machine


@pytest.fixture
def machine() -> Machine:
    """6.12; a dynamic region of 16 blocks of 2 MiB, whose dax0.0 is empty."""
    return Machine()


@pytest.fixture
def old() -> Machine:
    """The same on 6.1."""
    return Machine("6.1")


@pytest.fixture
def static() -> Machine:
    return Machine(provider="pmem", driver="device_dax")
