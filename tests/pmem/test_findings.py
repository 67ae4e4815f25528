"""What a recording shows without any check, against rules that are right at a glance."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from daxemu.pmem.findings import KINDS, Finding, find
from daxemu.pmem.format import LINE_SIZE
from daxemu.pmem.reader import EventType, Recording
from tests.pmem.recordings import line, make_recording

LINES = 5
by = st.builds(lambda thread, site: {"thread": thread, "site": site}, st.integers(0, 2), st.integers(0, 3))
ranges = st.integers(0, LINES * LINE_SIZE - 150), st.integers(0, 150)
events = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, LINES - 1).map(LINE_SIZE.__mul__), st.just(line("a")), by),
        st.tuples(st.just("flush"), *ranges, by),
        st.tuples(st.just("persist"), *ranges, by),
        st.tuples(st.just("fence"), by),
        st.tuples(st.just("flush"), st.just(0), st.just(LINES * LINE_SIZE), by),
    ),
    min_size=1,
    max_size=24,
)


def found_by_rule(log):
    """All that there is to find, as {(kind, site): [events]}."""
    newest, flushed, flights, found = {}, {}, [], {}

    def note(kind, site, seq):
        found.setdefault((kind, site), []).append(seq)

    for event in log:
        if event.type == EventType.STORE:
            if any(at == event.offset for at, *_ in flights):
                note("stored while in flight", event.site, event.seq)
            newest[event.offset], flushed[event.offset] = event, False
        if event.type & EventType.FLUSH:
            last = event.offset + event.length
            begins = [at for at in newest if event.length and event.offset < at + LINE_SIZE and at < last]
            taken = [at for at in begins if not flushed[at]]
            for at in taken:
                flushed[at] = True
                flights.append((at, event, newest[at]))
            if not taken:
                note("flushed without change", event.site, event.seq)
        if event.type & EventType.FENCE:
            flights = [flight for flight in flights if flight[1].thread != event.thread]
    for at, stored in newest.items():
        if not flushed[at]:
            note("never flushed", stored.site, stored.seq)
    for at, flush, stored in flights:
        if newest[at] is stored:
            note("not fenced", flush.site, flush.seq)
    return found


@settings(database=None, deadline=None)
@given(events)
def test_all_is_found_and_nothing_else(written):
    with tempfile.TemporaryDirectory() as directory:
        path = make_recording(Path(directory, "r"), written, size=LINES * LINE_SIZE)
        with Recording(path) as recording:
            found, expected = find(recording), found_by_rule(list(recording.events()))
    assert {(finding.kind, finding.site): finding.count for finding in found} == {
        key: len(seqs) for key, seqs in expected.items()
    }
    assert all(finding.seq in expected[finding.kind, finding.site] for finding in found)
    kinds = list(KINDS)
    assert found == sorted(found, key=lambda finding: (kinds.index(finding.kind), -finding.count, finding.site))


def test_many_sites_are_told_apart(tmp_path):
    sites = [(1 << 40) * number + number for number in range(1000)]
    written = [("flush", 128, 8, {"site": site}) for site in sites] * 2
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        assert sorted(find(recording), key=lambda finding: finding.site) == [
            Finding("flushed without change", site, 2, 128, 1 + number) for number, site in enumerate(sites)
        ]


def test_of_a_line_that_stays_in_flight_the_newest_flush_is_what_is_not_fenced(tmp_path):
    written = [("store", 0, line("a")), ("flush", 0, 1)] * 10_000 + [("persist", 64, 1, {"thread": 1})] * 10_000
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        assert [(finding.kind, finding.count) for finding in find(recording)] == [
            ("not fenced", 1),
            ("stored while in flight", 9_999),
            ("flushed without change", 10_000),
        ]
