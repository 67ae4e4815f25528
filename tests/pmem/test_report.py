"""Reports: text, JSON, a page; call sites by file and line."""

import json
import re
import subprocess
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from daxemu.pmem.explorer import explore
from daxemu.pmem.page import report_page
from daxemu.pmem.reader import Module, Recording
from daxemu.pmem.report import as_json, failure_text, report_text
from daxemu.pmem.sites import Sites
from daxemu.pmem.timeline import around, timeline
from tests.conftest import require
from tests.pmem.recordings import LINE, line, make_recording

SOURCE = """
__attribute__((noinline)) void flush(void) { __asm__ volatile(""); }
int main(void)
{
	flush();
	return 0;
}
"""


@pytest.fixture
def failing(tmp_path):
    written = [
        ("marker", "<one>"),
        ("store", 0, line("a"), {"site": 0x1001}),
        ("store", LINE, line("b")),
        ("flush", LINE, LINE),
        ("fence",),
    ]
    modules = [{"start": 0x1000, "end": 0x2000, "offset": 0, "path": "/nowhere/prog", "build_id": None}]
    path = make_recording(tmp_path / "r", written, command=["prog", "<x>"], modules=modules)
    with Recording(path) as recording:
        yield explore(recording, lambda memory: memory[0] >= memory[LINE] - 1), recording


def test_the_text_says_what_is_missing_and_how_to_see_it_again(failing):
    result, recording = failing
    text = "\n".join(report_text(result, recording))

    assert re.match(r"\d of \d states at 2 crash points fail", text)
    assert "state 5:0x0=0: the check answered False" in text
    assert "line 0x0 holds what was durable; missing: event 2 at prog+0x1" in text
    assert "last markers: <one>" in text
    assert f"daxemu crash explore {recording.path} --state 5:0x0=0 --check" in text
    assert "never flushed: 1 time at prog+0x1, first line 0x0 by event 2" in text


def test_what_passed_when_tried_again_is_told(tmp_path):
    failed = []
    path = make_recording(tmp_path / "r", [("store", 0, line("a"))])
    with Recording(path) as recording:
        result = explore(recording, lambda memory: memory[0] == 0 or failed or failed.append(1) or False)
        told = [*report_text(result, recording)]
        assert told[2:5] == [
            "state 2: the check answered False",
            "  it failed once, and passed when tried again: the check may be unsteady, or what is around it",
            "  power fails before event 2, at the end; failing there: 1 state",
        ]
        assert as_json(result, recording)["failures"][0]["unsteady"] is True
        assert told[3].strip() in report_page(result, recording)


def test_json_has_the_same(failing):
    found = json.loads(json.dumps(as_json(*failing)))

    assert found["command"] == ["prog", "<x>"]
    first = found["failures"][0]
    assert (first["state"], first["point"], first["markers"]) == ("5:0x0=0", 5, ["<one>"])
    line = {"offset": 0, "holds": 0, "stores": 1, "event": 2, "site": "prog+0x1", "observed": False}
    assert first["missing"] == [line]
    assert found["findings"][0]["kind"] == "never flushed"


def test_what_was_only_seen_was_stored_before(tmp_path):
    written = [("store", 0, line("a"), {"site": 0x17, "observed": True}), ("fence", {"site": 0x18})]
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        result = explore(recording, lambda memory: memory[0] == ord("a"))
        text = "\n".join(report_text(result, recording))
        assert "power fails before event 2 at 0x18; failing there: 1 state" in text
        assert "missing: event 1, seen at 0x17" in text
        assert "never flushed: 1 time, seen at 0x17" in text
        assert as_json(result, recording)["findings"][0]["observed"]


def test_findings_of_one_place_are_one_wherever_the_program_lay(tmp_path):
    """It ran twice."""
    lay = [
        {"start": start, "end": start + 0x1000, "offset": 0, "path": "/nowhere/prog", "build_id": None}
        for start in (0x1000, 0x5000)
    ]
    written = [("store", LINE * i, line("a"), {"site": site}) for i, site in enumerate([0x5001, 0x1001, 0x1002])]
    with Recording(make_recording(tmp_path / "r", [*written, ("fence",)], modules=lay)) as recording:
        text = [*report_text(explore(recording, lambda _: True), recording)]
    assert text[2:] == [
        "never flushed: 2 times at prog+0x1, first line 0x0 by event 1",
        "never flushed: 1 time at prog+0x2, first line 0x80 by event 3",
    ]


class Tags(HTMLParser):
    """What a page consists of; every element that is begun is ended."""

    def __init__(self, page):
        super().__init__()
        self.classes, self._open = [], []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.classes += [value for name, value in attributes if name == "class"]
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag


def test_the_page_needs_nothing_else(failing):
    page = report_page(*failing)

    assert {"store", "scroll"} <= {*Tags(page).classes}
    assert page.index("Failing states") < page.index("<svg") < page.index("Timeline") < page.index("Findings")
    assert not re.search(r"(src|href)=|https?:", page)
    assert "<one>" not in page
    assert "&lt;one&gt;" in page


def classes(picture):
    return Counter(element.get("class") for element in ElementTree.fromstring(picture).iter())


def test_the_picture_shows_what_was_on_its_way_when_the_power_failed(failing):
    result, recording = failing
    picture = timeline(recording, result.failures)[0].svg(result.failures, Sites(recording.modules))
    drawn = classes(picture)

    assert drawn["store"] == 2
    assert drawn["flush"] == drawn["fence"] == drawn["marker"] == 1
    assert (drawn["dirty"], drawn["flying"]) == (2, 1)  # line 0 is never flushed
    assert drawn["missing"] == len(result.failures)
    assert drawn["crash"] == 2 * len(result.failures)  # a line and its number


@pytest.fixture
def long(tmp_path):
    """A line that is never flushed, a long time before others are."""
    others = [
        event
        for i in range(2000)
        for event in (("store", LINE * (2 + i % 300), line(f"{i}")), ("flush", LINE * (2 + i % 300), LINE), ("fence",))
    ]
    written = [("store", LINE, line("a")), ("fence",), *others, ("store", 0, line("b")), ("flush", 0, 1), ("fence",)]
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        yield explore(recording, lambda memory: memory[0] == 0 or memory[LINE] == ord("a"), limit=4), recording


def test_of_a_long_recording_only_what_led_to_a_failure_is_drawn(long):
    result, recording = long
    failure = result.failures[0]
    picture = around(recording, failure).svg([failure], Sites([]))
    drawn = classes(picture)

    assert [line.offset for line in failure.missing] == [LINE]
    assert drawn["missing"] == drawn["gap"] == 1
    assert drawn["store"] < 10
    assert f"event {failure.state.point - 1}, " in picture
    assert drawn["line"] == drawn["row"]  # each has its name


def test_the_missing_lines_are_among_those_of_a_timeline(long):
    result, recording = long
    picture, told = timeline(recording, result.failures)

    assert told == f"Events {recording.end - 1000} to {recording.end - 1} of {recording.nr_events}, 200 of 301 lines"
    assert f">{0:#x}</text>" in picture.svg(result.failures, Sites([]))


def test_a_page_of_many_failures_stays_small(tmp_path):
    written = [event for i in range(1500) for event in (("store", 0, line(f"{i}")), ("fence",))]
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        result = explore(recording, lambda memory: memory[0] == 0)
        page = report_page(result, recording)

    assert len(result.failures) == 1500
    assert "… and at 1490 more crash points" in page
    assert "… and at 490 more crash points: --json" in page
    assert len(page) < 1_000_000


def test_a_state_with_many_missing_lines_has_its_long_name_behind_what_failed(tmp_path):
    written = [*(("store", at * LINE, line("a")) for at in range(50)), ("fence",)]
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        result = explore(recording, lambda memory: sum(memory[at * LINE] == 0 for at in range(50)) < 40)
        page = report_page(result, recording)
        text = [*failure_text(result.failures[0], recording, Sites([]))]

    state = result.failures[0].state
    title = f"state {state.point} with {len(state.lines)} older lines: the check answered False"
    assert f"<h3>{title}</h3>" in page
    assert str(state) in page
    assert [text[0], text[-1]] == [title, f"  its name: {state}"]


def test_markers_that_are_near_each_other_can_be_read(tmp_path):
    markers = [("marker", text) for text in ("first & foremost", "second", "third")]
    written = [*markers[:2], ("store", 0, line("a")), ("fence",), markers[2], ("fence",)]
    with Recording(make_recording(tmp_path / "r", written)) as recording:
        drawn = ElementTree.fromstring(timeline(recording, [])[0].svg([], Sites([])))
    assert [e.text for e in drawn.iter() if e.get("class") == "label"] == ["second", "third"]


@pytest.mark.parametrize(
    ("flags", "name"), [(["-g"], r"prog\.c:5"), ([], r"main\+0x[0-9a-f]+"), (["-s"], r"prog\+0x[0-9a-f]+")]
)
def test_a_site_is_told_as_well_as_the_program_allows(tmp_path, flags, name):
    require("cc", "gcc")
    (tmp_path / "prog.c").write_text(SOURCE)
    subprocess.run(["cc", "-O1", *flags, "-o", "prog", "prog.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-g", "-O1", "-o", "symbols", "prog.c"], cwd=tmp_path, check=True)
    require("objdump", "binutils")
    code = subprocess.run(["objdump", "-d", "symbols"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    after_call = re.search(r"call\w*\s+[0-9a-f]+ <flush>\n\s*([0-9a-f]+):", code)
    assert after_call
    vaddr = int(after_call[1], 16)  # the program is linked so that its code is at the same offset in the file
    module = Module(0x7F0000000000, 0x7F0000100000, 0, str(tmp_path / "prog"))

    assert re.fullmatch(name, Sites([module]).name(module.start + vaddr))


def test_sites_that_are_not_known():
    sites = Sites([Module(0x1000, 0x2000, 0x500, "/nowhere/lib.so")])
    assert sites.name(0) == ""
    assert sites.name(0x1004) == "lib.so+0x504"
    assert sites.name(0x3000) == "0x3000"
