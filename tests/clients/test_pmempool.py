"""pmempool, as Debian ships it: pools on a device, on two devices, and on a device with a replica on another."""

import pytest

from tests.conftest import require, require_library

TWO = ("--region", "size=64M", "--region", "size=32M")
ALIKE = ("--region", "size=32M", "--region", "size=32M")
SET = "PMEMPOOLSET\nOPTION SINGLEHDR\nAUTO /dev/dax0.0\nAUTO /dev/dax1.0\n"
REPLICATED = "PMEMPOOLSET\nAUTO /dev/dax0.0\nREPLICA\nAUTO /dev/dax1.0\n"
ALONE = "PMEMPOOLSET\nAUTO /dev/dax0.0\n"


@pytest.fixture
def steps(daxemu_run, compiled, public_dir):
    """Run a script where ``obj`` is tests/programs/pmdk_obj; return what it prints, ``rc`` printing statuses."""
    require("pmempool", "pmdk-tools")
    require_library("libpmemobj.h", "libpmemobj-dev")
    program = compiled("pmdk_obj", "-lpmemobj")
    for name, text in (("two.set", SET), ("replicated.set", REPLICATED), ("alone.set", ALONE)):
        (public_dir / name).write_text(text)

    def run(script: str, options: tuple[str, ...] = ()) -> str:
        functions = f'exec 2>&1; rc() {{ "$@"; echo "rc $?"; }}; obj() {{ {program} "$@"; }}\n'
        return daxemu_run("bash", "-c", functions + script, options=options, cwd=public_dir).stdout

    return run


def test_a_pool_on_a_device_lives_and_is_removed(steps):
    shown = steps(
        """
        pmempool create --layout=life obj /dev/dax0.0
        pmempool info /dev/dax0.0
        pmempool check -v /dev/dax0.0
        pmempool rm -f /dev/dax0.0
        rc pmempool info /dev/dax0.0
        """
    )
    assert "type                     : device dax" in shown
    assert "size                     : 67108864" in shown
    assert "Layout                   : life" in shown
    assert "/dev/dax0.0: consistent" in shown
    assert shown.endswith("rc 1\n")


@pytest.mark.parametrize("kind", ["log", "blk 512"])
def test_pools_of_the_other_kinds(steps, kind):
    shown = steps(f"rc pmempool create {kind} /dev/dax0.0; rc pmempool check /dev/dax0.0; pmempool info /dev/dax0.0")
    assert shown.startswith("rc 0\nrc 0\n")
    assert f"Signature                : PMEM{kind[:3].upper()}" in shown


def test_a_pool_over_two_devices_uses_both(steps):
    shown = steps(
        """
        pmempool create --layout=test obj two.set
        rc obj two.set set 7 fill read
        rc pmempool check two.set
        rc obj /dev/dax0.0 read
        rc pmempool rm two.set
        """,
        TWO,
    )
    before, after_fill, *rest = shown.splitlines()[:3]
    assert (before, after_fill) == ("set: found 0 0", "fill: found 7 14")
    filled = int(rest[0].removeprefix("Cannot allocate memory after ").removesuffix(" MiB"))
    assert 64 < filled < 96
    assert shown.splitlines()[3:6] == ["read: found 7 14", "rc 0", "rc 0"]
    assert shown.endswith("rc 1\nrc 0\n")  # half of a set is no pool


def test_a_lost_replica_is_made_again_and_given_up(steps):
    shown = steps(
        """
        pmempool create --layout=test obj replicated.set
        obj replicated.set set 5
        daxio -z -o /dev/dax1.0 >/dev/null 2>&1
        rc pmempool check replicated.set
        rc pmempool sync replicated.set
        rc pmempool check replicated.set
        daxio -z -o /dev/dax0.0 >/dev/null 2>&1
        pmempool sync replicated.set
        obj replicated.set read
        rc pmempool transform replicated.set alone.set
        obj alone.set read
        """,
        ALIKE,
    )
    assert shown.splitlines() == [
        "set: found 0 0",
        "replica 1 part 0: empty pool hdr",
        "replicated.set: not consistent",
        "rc 1",
        "rc 0",
        "rc 0",
        "read: found 5 10",
        "rc 0",
        "read: found 5 10",
    ]


def test_features_of_a_pool_are_switched(steps):
    shown = steps(
        """
        pmempool create --layout=test obj /dev/dax0.0
        f() { pmempool feature "$1" "$2" /dev/dax0.0; }
        f --query SHUTDOWN_STATE; echo; rc f --disable SHUTDOWN_STATE; f --query SHUTDOWN_STATE; echo
        rc f --enable CHECK_BAD_BLOCKS; f --query CHECK_BAD_BLOCKS; echo
        obj /dev/dax0.0 read
        """
    )
    assert shown.splitlines() == ["1", "rc 0", "0", "rc 0", "1", "read: found 0 0"]


def test_broken_memory_is_found_and_mended_from_the_replica(steps):
    """The pool says that it is not to be opened with bad blocks; sync takes what they held from the other device."""
    require("ndctl")
    shown = steps(
        """
        pmempool create --layout=test obj replicated.set
        pmempool feature --enable CHECK_BAD_BLOCKS replicated.set
        obj replicated.set set 5
        ndctl inject-error namespace0.0 -B 20000 -n 1 >/dev/null
        rc obj replicated.set read | grep -o 'pool set contains bad blocks'
        rc pmempool sync --bad-blocks replicated.set
        cat /sys/bus/nd/devices/region0/badblocks
        obj replicated.set read
        """,
        ALIKE,
    )
    assert shown.splitlines()[1:] == ["pool set contains bad blocks", "rc 0", "read: found 5 10"]
