"""Store logs of pmemcheck as recordings; the logs are written here, by the format that the reference describes."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daxemu.errors import UsageError
from daxemu.pmem.explorer import explore
from daxemu.pmem.model import crash_states
from daxemu.pmem.pmemcheck import import_log
from daxemu.pmem.points import crash_points
from daxemu.pmem.reader import Event, EventType, Recording
from daxemu.pmem.report import report_text
from daxemu.pmem.states import CrashImage
from tests.pmem.recordings import LINE, line

POOL = 0x7F0000200000
SIZE = 4096


def register(path="/mnt/pool", start=POOL, size=SIZE, offset=0):
    return f"REGISTER_FILE;{path};{start:#x};{size:#x};{offset:#x}"


def store(offset, data, start=POOL, trace=""):
    return f"STORE;{start + offset:#x};{int.from_bytes(data, 'little'):#x};{len(data):#x}{trace}"


def flush(offset, length=LINE, start=POOL):
    return f"FLUSH;{start + offset:#x};{length:#x}"


def log_of(*records, before="", after="\n"):
    return f"{before}{'|'.join(['START', *records, 'STOP'])}{after}"


@pytest.fixture
def imported(tmp_path):
    """Import a log, given as a text; the directory and what is told of it."""

    def call(text, **options):
        path = tmp_path / "store.log"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / "rec", import_log(path, tmp_path / "rec", **options)

    return call


def events(directory):
    with Recording(directory) as recording:
        return [(event.type.name, event.offset, event.length, event.data) for event in recording.events()]


def publish(*, flushed):
    """A value, made durable, then the flag that says so; wrong without the flush."""
    yield register()
    yield store(0, b"value", trace=";0x401136: publish (log.c:12);0x401190: main (log.c:30)")
    if flushed:
        yield flush(0)
        yield "FENCE"
    yield store(LINE, b"\1", trace=";0x401150: publish (log.c:15);0x401190: main (log.c:30)")
    yield flush(LINE)
    yield "FENCE"
    yield "PUBLISHED.END"


def flag_has_its_value(memory):
    assert not memory[LINE] or memory[:5] == b"value", "no value"


def test_a_right_program_never_fails(imported):
    directory, _ = imported(log_of(*publish(flushed=True)))

    assert explore(directory, flag_has_its_value).ok


def test_a_missing_flush_is_found_with_the_place_that_stored(imported):
    directory, _ = imported(log_of(*publish(flushed=False)))

    result = explore(directory, flag_has_its_value)
    with Recording(directory) as recording:
        text = "\n".join(report_text(result, recording))

    assert [missing.offset for missing in result.failures[0].missing] == [0]
    assert "line 0x0 holds what was durable; missing: event 1 at log.c:12, from log.c:30" in text
    assert "never flushed: 1 time at log.c:12, from log.c:30" in text
    assert recording.markers == [(5, "PUBLISHED.END")]


def test_a_command_recovers_from_a_device(imported):
    directory, _ = imported(log_of(*publish(flushed=False)))
    check = "import mmap, os; m = mmap.mmap(os.open('/dev/dax0.0', 2), 4096); assert not m[64] or m[0], 'no value'"

    result = explore(directory, ["python3", "-c", check], limit=2)

    assert result.failures[0].reason == "exit status 1: AssertionError: no value"


def test_every_record_becomes_events(imported):
    directory, told = imported(
        log_of(
            register(),
            store(8, b"ab"),
            flush(8, 100),
            "FENCE",
            "COMMIT",  # by processors that had it
            store(60, b"12345678"),
            "FREORDER",
            "two words",
        )
    )

    first = bytes(8) + b"ab" + bytes(54)
    assert events(directory) == [
        ("STORE", 0, LINE, first),
        ("FLUSH", 8, 100, b""),
        ("FENCE", 0, 0, b""),
        ("STORE", 0, LINE, first[:60] + b"1234"),
        ("STORE", LINE, LINE, b"5678" + bytes(60)),
        ("MARKER", 0, 8, b"FREORDER"),
        ("MARKER", 0, 9, b"two words"),
    ]
    assert (told.stores, told.flushes, told.fences, told.markers) == (2, 1, 1, 2)
    with Recording(directory) as recording:
        described = (recording.device, recording.size, recording.align, recording.domain, recording.sources)
    assert described == ("/mnt/pool", SIZE, SIZE, "memory_controller", ["pmemcheck"])


def test_what_the_file_held_before(imported, tmp_path):
    before = tmp_path / "before"
    before.write_bytes(line("old") * 2)
    directory, _ = imported(log_of(register(), store(0, b"new"), flush(0), "FENCE"), base=before)

    assert events(directory)[0][3] == b"new" + line("old")[3:]
    seen = set()
    explore(directory, lambda memory: seen.add(bytes(memory[: 2 * LINE])) is None)
    assert seen == {line("old") * 2, b"new" + line("old")[3:] + line("old")}


@pytest.mark.parametrize(
    ("mapped", "held", "size", "align"),
    [(100, 0, 4096, 4096), (2 << 20, 0, 2 << 20, 2 << 20), (4096, 5000, 8192, 4096), (4096, 4 << 20, 4 << 20, 2 << 20)],
)
def test_the_size_is_that_of_the_file_as_far_as_it_is_known(imported, tmp_path, mapped, held, size, align):
    before = tmp_path / "before"
    before.write_bytes(b"x" * held)
    directory, told = imported(log_of(register(size=mapped), store(0, b"a")), base=before)

    assert told.size == size
    with Recording(directory) as recording:
        assert (recording.size, recording.align) == (size, align)


TWO = (
    register("/mnt/a/pool"),
    register("/mnt/b", start=POOL + SIZE, size=SIZE * 2, offset=SIZE),
    store(0, b"in a"),
    store(SIZE, b"in b"),
    store(SIZE - 2, b"both"),
    store(-1, b"\1"),
    flush(SIZE - 64, 128),
)


@pytest.mark.parametrize("file", ["/mnt/b", "b"])
def test_one_of_several_files(imported, file):
    directory, told = imported(log_of(*TWO), file=file)

    assert [event[:3] for event in events(directory)] == [
        ("STORE", SIZE, LINE),
        ("STORE", SIZE, LINE),
        ("FLUSH", SIZE, LINE),
    ]
    assert events(directory)[1][3].startswith(b"th b")  # the half that is in it
    assert (told.size, told.stores, told.elsewhere, told.nowhere) == (SIZE * 3, 2, 1, 1)


def test_addresses_are_of_what_was_mapped_there_last(imported):
    directory, told = imported(
        log_of(
            register(),
            store(0, b"1"),
            register("/mnt/other", size=2048),
            store(0, b"2"),
            store(2048, b"3"),
            register(start=POOL + 512, size=512, offset=1024),
            store(512, b"4"),
            flush(0, SIZE),
        ),
        file="pool",
    )

    flushed = [("FLUSH", 1024, 512), ("FLUSH", 2048, 2048)]
    assert [event[:3] for event in events(directory)] == [("STORE", at, LINE) for at in (0, 2048, 1024)] + flushed
    assert (told.stores, told.elsewhere, told.nowhere) == (3, 1, 0)


def test_what_valgrind_tells_people_is_no_part_of_it(imported):
    banner = "==12== pmemcheck-1.0, a | bar\n==12== Command: ./prog /mnt/pool\n==12== \n"
    text = log_of(register(), store(0, b"a") + "==12== Unable to trace | a store\n", "FENCE", before=banner)
    directory, told = imported(text + "==12== \n==12== Number of stores not made persistent: 1\n")

    assert [event[0] for event in events(directory)] == ["STORE", "FENCE"]
    assert told.markers == 0
    with Recording(directory) as recording:
        assert recording.command == ["./prog", "/mnt/pool"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "it is empty; give the file that valgrind wrote"),
        (b"\x7fELF\0\1\2", "no store log of pmemcheck: it does not begin with START"),
        ("START|FENCE|STOP\n", "no file is registered in it"),
        (log_of(register()), "it has no store to /mnt/pool"),
        (log_of(register(), store(SIZE, b"a")), "it has no store to /mnt/pool"),
        (log_of(register(), store(0, b"a"))[:-5], "its last record is not STOP"),
        (log_of(register(), "STORE;0x10;0x1"), "record 3, at byte 56: 'STORE;0x10;0x1': expected STORE;address;value;"),
        (log_of(register(), "STORE;0x10;0x100;0x1"), "expected a value of 1 bytes"),
        (log_of(register(), "STORE;0x10;0x0;0x0"), "expected a store of 1 to 256 bytes"),
        (log_of(register(), "STORE;0x10;0x0;0x101"), "expected a store of 1 to 256 bytes"),
        (log_of(register(), "STORE;-1;0x0;0x1"), "expected STORE;address;value;size"),
        (log_of(register(), "FLUSH;0x10"), "expected FLUSH;address;size"),
        (log_of(register(), "STOER;0x10;0x1;0x1"), "expected STORE, FLUSH, FENCE, REGISTER_FILE, STOP, or a marker"),
        (log_of(register(), "bell\a"), "or a marker of one line"),
        (log_of(register(), store(0, b"a") + "\nhello\n"), "expected STORE;address;value;size"),
        (log_of("REGISTER_FILE;/mnt/pool;0x1000"), "expected REGISTER_FILE;path;address;size;offset"),
        (log_of(register(size=0)), "expected a mapping that has a size"),
        (log_of(register(size=1 << 60), store(0, b"a")), "more than a machine addresses"),
        (log_of(register(), store(0, b"a"), "START"), "expected one program; the logs of several need a file each"),
        (log_of(register(), store(0, b"a")) + "|FENCE", "expected nothing behind STOP"),
        (log_of(*TWO), "several files are in it; say which one by --file: /mnt/a/pool, /mnt/b"),
    ],
)
def test_what_is_no_log_or_damaged_is_refused_and_leaves_nothing(imported, tmp_path, text, told):
    with pytest.raises(UsageError) as refusal:
        imported(text)

    assert told in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["store.log"]


def test_files_that_are_not_there(imported, tmp_path):
    text = log_of(*TWO)
    with pytest.raises(UsageError, match="no file 'c' is in it; there are: /mnt/a/pool, /mnt/b"):
        imported(text, file="c")
    with pytest.raises(UsageError, match="nix: No such file"):
        imported(text, file="b", base=tmp_path / "nix")
    with pytest.raises(UsageError, match="/dev/zero is no regular file"):
        imported(text, file="b", base="/dev/zero")
    with pytest.raises(UsageError, match="No such file"):
        import_log(tmp_path / "no.log", tmp_path / "rec")
    assert not (tmp_path / "rec").exists()
    (tmp_path / "rec").mkdir()
    with pytest.raises(UsageError, match="name a new directory"):
        imported(text, file="b")


LINES = 4
steps = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, LINES * LINE - 20), st.binary(min_size=1, max_size=20)),
        st.tuples(st.just("flush"), st.integers(0, LINES * LINE), st.integers(1, 150)),
        st.just(("fence",)),
    ),
    max_size=10,
)


def as_events(done):
    """What a program does to memory, line by line, told independently of the importer."""
    memory = bytearray(SIZE)
    for kind, *arguments in done:
        if kind == "store":
            at, data = arguments
            memory[at : at + len(data)] = data
            for touched in sorted({byte // LINE * LINE for byte in range(at, at + len(data))}):
                yield EventType.STORE, touched, LINE, bytes(memory[touched : touched + LINE])
        elif kind == "flush":
            yield EventType.FLUSH, *arguments, b""
        else:
            yield EventType.FENCE, 0, 0, b""


def as_record(kind, *arguments):
    return {"store": store, "flush": flush}[kind](*arguments) if arguments else "FENCE"


@settings(database=None, deadline=None)
@given(steps)
def test_the_images_are_those_of_the_model(done):
    done.insert(0, ("store", 0, b"x"))
    wanted = [Event(n, kind, 0, at, length, 0, data) for n, (kind, at, length, data) in enumerate(as_events(done), 1)]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        log.write_text(log_of(register(), *(as_record(*step) for step in done)))
        import_log(log, Path(directory, "rec"))
        seen = set()
        with Recording(Path(directory, "rec")) as recording, CrashImage(recording) as image:
            points = crash_points(recording, 1)
            for point in points:
                image.advance(point)
                image.states.explore(lambda: seen.add(bytes(image.view)), "auto", 1 << 20, 0, 1, 0)

    assert seen == crash_states(bytes(SIZE), wanted, points)


VALID = log_of(*publish(flushed=True)).encode()


@settings(database=None, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda junk: b"START|" + junk + b"|STOP")))
@example(b"START|REGISTER_FILE;;0x0;0x1;0x0|STORE;0x0;0x0;0x1|STOP")
def test_random_bytes_are_refused(junk):
    assert_refused_or_whole(junk)


@settings(database=None, deadline=None)
@given(st.integers(0, len(VALID)), st.integers(0, 20), st.binary(max_size=8))
def test_damage_is_refused_or_there_is_a_whole_recording(at, length, junk):
    assert_refused_or_whole(VALID[:at] + junk + VALID[at + length :])


def assert_refused_or_whole(data):
    with tempfile.TemporaryDirectory() as directory:
        log, target = Path(directory, "log"), Path(directory, "rec")
        log.write_bytes(data)
        try:
            import_log(log, target)
        except UsageError:
            assert not target.exists()
        else:
            with Recording(target) as recording:
                assert recording.nr_events
