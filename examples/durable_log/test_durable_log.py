"""What is appended must be there after a power failure, wherever it strikes."""

import pytest
from durable_log import DurableLog, HastyLog

BODIES = [b"short", b"longer than one line: " + bytes(range(1, 100)), b"last"]


def append_with(kind):
    def workload(memory):
        log = kind(memory)
        for number, body in enumerate(BODIES, 1):
            log.append(body)
            memory.marker(str(number))

    return workload


def no_record_is_lost(memory, markers):
    appended = int(markers[-1]) if markers else 0
    records = DurableLog(memory).records
    assert records == BODIES[: len(records)]
    assert len(records) >= appended, f"{appended} were appended, {len(records)} are there"


def test_durable_log(dax_crash):
    result = dax_crash.explore(append_with(DurableLog), no_record_is_lost)
    assert result.states > len(BODIES)


def test_hasty_log_is_found_out(dax_crash):
    with pytest.raises(pytest.fail.Exception, match="2 were appended, 1 are there"):
        dax_crash.explore(append_with(HastyLog), no_record_is_lost)
