"""Devices as memory: unmodified daxctl, and writes to sysfs, answer as on the real kernels that were recorded."""

from __future__ import annotations

import difflib
import re
import subprocess
from pathlib import Path

import pytest

from daxemu import Engine
from tests.conftest import require

HERE = Path(__file__).parent
SCRIPT = HERE / "system_ram.sh"

# The device of the recording: the memory of all of hmem.0; of the e820 namespace, what its metadata leaves.
REGIONS = {
    "hmem": {"provider": "hmem", "size": 1 << 30, "driver": "auto"},
    "pmem": {"provider": "pmem", "size": 658505728, "start": (1 << 44) + 0xC00000, "driver": "auto"},
}


def comparable(text: str) -> list[str]:
    """Lines without the number of the device's first block, which depends on where its memory is."""
    return re.sub(r"memory\d+", "memoryN", text).splitlines()


@pytest.mark.parametrize("topology", REGIONS)
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_a_device_becomes_memory_and_comes_back_as_on_the_real_kernel(kernel: str, topology: str):
    require("daxctl")
    recorded = (HERE / f"recorded/system_ram-{kernel}-{topology}.txt").read_text()
    with Engine(kernel=kernel) as engine:
        engine.add_region(idle=False, **REGIONS[topology])
        answer = engine.run(["bash", SCRIPT], stdout=subprocess.PIPE, text=True, timeout=120)
    differences = list(difflib.unified_diff(comparable(recorded), comparable(answer.stdout), "kernel", "daxemu", n=2))
    assert not differences, "\n".join(differences)
