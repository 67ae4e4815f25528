"""A log as it lies in its file."""

import struct

import pytest

from daxemu import UsageError
from daxemu.pmem.writer import LogWriter


def words(data):
    return struct.unpack(f"<{len(data) // 8}Q", data)


def test_events_follow_the_header_in_order(tmp_path):
    path = tmp_path / "log"
    with LogWriter(path, 4096) as log:
        log.store(128, b"x" * 64, thread=1, site=7)
        log.flush(100, 80, site=8)
        log.fence()
        log.persist(0, 1)
        log.marker("grüße")
    data = path.read_bytes()

    assert data[:8] == b"DAXCRASH"
    version, header_size, size, line, flags, events = struct.unpack("<IIQIIQ", data[8:40])
    assert (version, header_size, size, line, flags, events) == (2, 64, 4096, 64, 0, 5)
    assert struct.unpack("<BBHIQQ", data[64:88]) == (1, 0, 1, 64, 128, 7)
    assert data[88:152] == b"x" * 64
    assert struct.unpack("<BBHIQQ", data[152:176]) == (2, 0, 0, 80, 100, 8)
    assert struct.unpack("<BBHIQQ", data[176:200]) == (4, 0, 0, 0, 0, 0)
    assert struct.unpack("<BBHIQQ", data[200:224]) == (6, 0, 0, 1, 0, 0)
    assert struct.unpack("<BBHIQQ", data[224:248]) == (8, 0, 0, 7, 0, 0)
    assert data[248:] == "grüße".encode() + b"\0"


def test_the_header_carries_the_sum_of_its_words(tmp_path):
    path = tmp_path / "log"
    with LogWriter(path, 1 << 40) as log:
        log.fence()
    header = words(path.read_bytes()[:64])

    assert header[5] == sum(header[:5]) % (1 << 64)


def test_a_log_that_was_not_closed_says_so(tmp_path):
    path = tmp_path / "log"
    log = LogWriter(path, 4096)
    log.fence()
    log._file.flush()

    assert words(path.read_bytes())[4] == 0
    log.close()
    assert words(path.read_bytes())[4] == 1


@pytest.mark.parametrize(("offset", "data"), [(64, b"short"), (8, b"x" * 64), (4096, b"x" * 64), (-64, b"x" * 64)])
def test_what_is_no_line_of_the_device_is_refused(tmp_path, offset, data):
    with LogWriter(tmp_path / "log", 4096) as log, pytest.raises(UsageError):
        log.store(offset, data)


def test_a_flush_outside_the_device_is_refused(tmp_path):
    with LogWriter(tmp_path / "log", 4096) as log, pytest.raises(UsageError, match="not all in a device of 4096"):
        log.flush(4090, 7)
