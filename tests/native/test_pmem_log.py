"""The log of a recording: what is told of gets into its file, in order, whoever dies on the way."""

import errno
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxemu._core import PmemLog
from daxemu.pmem import format as fmt

LINE = fmt.LINE_SIZE
SIZE = 16384  # four pages
BEGIN = fmt.LOG_HEADER.size


class Log:
    """A recording's memory and its file."""

    def __init__(self, limit=fmt.LOG_MOST, *, alone=False):
        self.state, self.events, self.file = (os.memfd_create("daxemu-test") for _ in range(3))
        os.ftruncate(self.state, fmt.SHADOW_OFFSET + SIZE)
        os.ftruncate(self.events, fmt.LOG_MOST)
        os.pwrite(
            self.state, fmt.STATE.pack(tail=BEGIN, collected=BEGIN, limit=limit, held_most=1 << 30, device_size=SIZE), 0
        )
        self.log = PmemLog(self.state, self.events)
        if not alone:
            assert self.log.new_thread() == 0

    def close(self):
        for fd in (self.state, self.events, self.file):
            os.close(fd)

    def collect(self, *, last=False):
        """All events that are in the file, as (type, thread, offset, length, payload)."""
        self.log.collect(self.file, last)
        count, end = self.log.collected()
        data, found, at = os.pread(self.file, end, 0), [], BEGIN
        while at < end:
            event = fmt.EVENT.unpack(data[at : at + fmt.EVENT.size])
            at += fmt.EVENT.size
            size = event["length"] if event["type"] in (fmt.EVENT_STORE, fmt.EVENT_MARKER) else 0
            found.append((*(event[name] for name in ("type", "thread", "offset", "length")), data[at : at + size]))
            at += fmt.padded(size)
        assert (count, end) == (len(found), at)
        return found


@pytest.fixture
def log():
    found = Log()
    yield found
    found.close()


def store(offset, data, thread=0):
    return fmt.EVENT_STORE, thread, offset, LINE, data


calls = st.lists(
    st.one_of(
        st.tuples(st.just("observe"), st.integers(0, SIZE // LINE - 1), st.integers(1, 130), st.sampled_from("ab")),
        st.tuples(st.sampled_from(["flush", "persist"]), st.integers(0, SIZE - 300), st.integers(0, 300)),
        st.tuples(st.just("fence")),
        st.tuples(st.just("marker"), st.text(max_size=9)),
        st.tuples(st.just("collect")),
    ),
    max_size=30,
)


@settings(database=None, deadline=None)
@given(calls, st.booleans())
def test_what_is_told_of_is_in_the_file_and_of_lines_what_has_changed(written, alone):
    log, known, expected = Log(alone=alone), bytearray(SIZE), []
    for number, (name, *arguments) in enumerate(written):
        thread = number % 3
        if name == "observe":
            first, count, letter = arguments
            data = letter.encode() * (min(count, SIZE // LINE - first) * LINE)
            log.log.observe(first * LINE, data, thread)
            for at in range(first * LINE, first * LINE + len(data), LINE):
                if known[at : at + LINE] != data[:LINE]:
                    known[at : at + LINE] = data[:LINE]
                    expected.append(store(at, data[:LINE], thread))
        elif name == "collect":
            assert log.collect() == expected
        elif name == "marker":
            log.log.marker(arguments[0], thread)
            text = arguments[0].encode()
            expected.append((fmt.EVENT_MARKER, thread, 0, len(text), text))
        elif name == "fence" or (name == "persist" and not arguments[1]):
            getattr(log.log, name)(*arguments, thread)
            expected.append((fmt.EVENT_FENCE, thread, 0, 0, b""))
        else:
            getattr(log.log, name)(*arguments, thread)
            kind = {"flush": fmt.EVENT_FLUSH, "persist": fmt.EVENT_PERSIST}[name]
            expected += [(kind, thread, *arguments, b"")] if arguments[1] else []
    assert log.collect(last=True) == expected
    log.close()


def test_events_of_threads_are_whole_and_each_threads_in_order(log):
    def write(thread):
        for number in range(2000):
            line = thread * 64 + number % 64
            log.log.observe(line * LINE, number.to_bytes(LINE, "little"), thread)
            log.log.persist(line * LINE, LINE, thread)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        log.collect()
    found = log.collect(last=True)
    for thread in range(4):
        stored = [int.from_bytes(data, "little") for kind, by, _, _, data in found if by == thread and kind == 1]
        assert stored == [*range(1, 2000)] if thread == 0 else [*range(2000)]


def test_who_was_killed_while_it_was_alone_holds_nobody_up_for_ever():
    log = Log(alone=True)
    log.log.fence(0)
    os.pwrite(log.state, (1).to_bytes(4, "little"), fmt.STATE.offset("busy"))
    thread = log.log.new_thread()
    log.log.observe(0, b"x" * LINE, thread)
    assert log.collect() == [(fmt.EVENT_FENCE, 0, 0, 0, b""), store(0, b"x" * LINE, thread)]
    assert fmt.STATE.unpack(os.pread(log.state, fmt.STATE.size, 0))["sharing"] == fmt.STATE_SHARED
    log.close()


def test_what_is_not_finished_holds_up_what_follows_until_the_end(log):
    log.log.fence(1)
    tail = BEGIN + fmt.EVENT.size
    log.log.observe(0, b"x" * LINE, 1)
    log.log.fence(2)
    os.pwrite(log.events, bytes([fmt.EVENT_STORE | fmt.EVENT_UNFINISHED]), tail)
    fences = [(fmt.EVENT_FENCE, thread, 0, 0, b"") for thread in (1, 2)]
    assert log.collect() == fences[:1]
    assert log.log.held() == 2 * fmt.EVENT.size + LINE
    assert log.collect(last=True) == fences


@pytest.mark.parametrize("size", [8, 24, 88, 8 * 1001])
def test_a_place_that_was_taken_and_never_written_to_is_left_out(log, size):
    log.log.fence(1)
    tail = fmt.STATE.offset("tail")
    os.pwrite(log.state, (BEGIN + fmt.EVENT.size + size).to_bytes(8, "little"), tail)
    log.log.fence(2)
    assert [event[1] for event in log.collect(last=True)] == [1, 2]
    os.pwrite(log.state, (BEGIN + 2 * fmt.EVENT.size + 2 * size).to_bytes(8, "little"), tail)
    assert len(log.collect(last=True)) == 2


def test_what_there_is_no_room_for_stops_the_log_and_what_was_before_is_there():
    log = Log(limit=2 << 20)
    for number in range(25000):
        log.log.observe(0, number.to_bytes(LINE, "little"), 0)
    assert log.log.stopped() == fmt.STOPPED_FULL
    found = log.collect(last=True)
    assert found == [store(0, number.to_bytes(LINE, "little")) for number in range(1, len(found) + 1)]
    assert len(found) == ((2 << 20) - BEGIN) // (fmt.EVENT.size + LINE)
    log.close()


def test_a_full_disk_takes_nothing_away(log):
    log.log.marker("kept", 0)
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="a log") as caught:
        log.log.collect(full, False)
    os.close(full)
    assert caught.value.errno == errno.ENOSPC
    assert log.log.collected() == (0, BEGIN)
    assert log.collect() == [(fmt.EVENT_MARKER, 0, 0, 4, b"kept")]


def test_what_is_in_the_file_takes_no_memory(log):
    for number in range(100_000):
        log.log.observe(0, number.to_bytes(LINE, "little"), 0)
    before = os.fstat(log.events).st_blocks * 512
    assert log.log.held() > 8 << 20
    log.log.collect(log.file, False)
    assert log.log.held() == 0
    assert os.fstat(log.events).st_blocks * 512 <= 3 << 20 < before


def test_the_first_reason_to_stop_counts(log):
    log.log.stop(fmt.STOPPED_CLOSED)
    log.log.stop(fmt.STOPPED_FULL)
    log.log.fence(0)
    log.log.observe(0, b"x" * LINE, 0)
    assert log.log.stopped() == fmt.STOPPED_CLOSED
    assert log.collect(last=True) == []
