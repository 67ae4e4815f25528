"""Whatever threads do with their address space meanwhile: a revocation touches nothing but mappings of the device."""

import time

from daxemu import Engine


def test_memory_that_takes_the_place_of_a_mapping_is_never_touched(compiled):
    with Engine() as engine:
        device = engine.add_region("4M").devices[0]
        with engine.popen([compiled("churn"), device.path], stdin=-1, stdout=-1, stderr=-1, text=True) as program:
            assert program.stdout.readline() == "ready\n"
            end = time.monotonic() + 3
            while time.monotonic() < end:
                device.kill()
                device.revive()
            output, told = program.communicate("", timeout=60)
        assert (program.returncode, output) == (0, "ok\n"), told
