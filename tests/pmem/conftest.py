"""A device to record."""

import pytest

from daxemu import Engine


@pytest.fixture
def device():
    with Engine() as engine:
        yield engine.add_region("4M").devices[0]
