"""daxemu crash import: what pmemcheck has logged, explored."""

import os

from .conftest import error_line

LOG = (
    "START|REGISTER_FILE;/mnt/pool;0x200000;0x1000;0x0|REGISTER_FILE;/mnt/other;0x400000;0x1000;0x0|"
    "STORE;0x200000;0x1;0x8|STORE;0x200040;0x1;0x8|FLUSH;0x200040;0x40|FENCE|STORE;0x400000;0x1;0x1|"
    "STORE;0x9000;0x1;0x1|STOP\n"
)
CHECK = "python3 -c 'import sys; data = open(sys.argv[1], \"rb\").read(); sys.exit(data[64] > data[0])' {image}"


def test_a_log_is_imported_shown_and_explored(daxemu, tmp_path):
    log, directory = tmp_path / "store.log", tmp_path / "pool.daxcrash"
    log.write_text(LOG)

    result = daxemu("crash", "import", log, "-o", directory, "--file", "pool")
    shown = daxemu("crash", "show", directory)
    explored = daxemu("crash", "explore", directory, "--check", CHECK)

    assert (result.returncode, result.stderr.splitlines()) == (
        0,
        [
            "daxemu: stores at addresses of no file were left out: 1",
            "daxemu: stores to other files were left out: 1",
        ],
    )
    assert result.stdout == f"{directory}: 4K of /mnt/pool; stores 2, flushes 1, fences 1, markers 0\n"
    assert shown.stdout.startswith("device /mnt/pool, 4K, memory_controller, 4 events\n")
    assert explored.returncode == 1
    assert "line 0x0 holds what was durable; missing: event 1" in explored.stdout


def test_what_is_refused_is_told_in_a_line(daxemu, tmp_path):
    log = tmp_path / "store.log"
    log.write_text(LOG)

    unclear = daxemu("crash", "import", log, "-o", tmp_path / "rec")
    log.write_bytes(os.urandom(1000))
    junk = daxemu("crash", "import", log, "-o", tmp_path / "rec")

    assert (unclear.returncode, junk.returncode) == (2, 2)
    assert error_line(unclear) == f"{log}: several files are in it; say which one by --file: /mnt/pool, /mnt/other"
    assert error_line(junk).startswith(f"{log} is no store log of pmemcheck: ")
    assert not (tmp_path / "rec").exists()
