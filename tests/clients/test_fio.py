"""fio's dev-dax engine, writing and verifying."""

import pytest

from tests.conftest import require

JOB = "--name=v --ioengine=dev-dax --filename=/dev/dax0.0 --rw=randwrite --size=64m --verify=crc32c --do_verify=1"


@pytest.mark.parametrize("block", ["4k", "2m"])
@pytest.mark.parametrize("kind", [["--thread"], []], ids=["threads", "processes"])
def test_fio_verifies_what_it_wrote(daxemu_run, public_dir, block, kind):
    require("fio")

    result = daxemu_run("fio", *JOB.split(), f"--bs={block}", *kind, cwd=public_dir)

    assert "err= 0" in result.stdout
    assert "verify" not in result.stderr
    assert "io=64.0MiB" in result.stdout


@pytest.mark.parametrize(("align", "size"), [("4K", "64M"), ("2M", "64M"), ("1G", "1G")])
def test_fio_jobs_use_devices_of_every_alignment(daxemu_run, public_dir, align, size):
    """Threads and processes, each with a device of its own. (The engine has all jobs begin at offset 0.)"""
    require("fio")
    regions = ("--region", f"size={size},align={align}") * 2
    common = f"--ioengine=dev-dax --rw=randwrite --size={size} --io_size=8m --bs=4k --verify=crc32c --do_verify=1"
    jobs = "--name=a --filename=/dev/dax0.0 --name=b --filename=/dev/dax1.0"
    script = " && ".join(f"fio {common} --group_reporting {kind} {jobs}" for kind in ("--thread", ""))

    result = daxemu_run("sh", "-c", script, options=regions, cwd=public_dir)

    assert result.stdout.count("err= 0") == 2
    assert result.stdout.count(" READ: ") == 2  # what was written was read and compared
    assert "verify" not in result.stderr


def test_fio_finds_a_byte_that_changed_under_it(daxemu_run, public_dir):
    """The verification can fail: it reads the device, not its own memory."""
    require("fio")
    spoil = (
        f"fio {JOB} --bs=4k --do_verify=0 >/dev/null && "
        "python3 -c 'import mmap,os; f=os.open(\"/dev/dax0.0\",os.O_RDWR); m=mmap.mmap(f,64<<20); m[5000]^=1' && "
        f"fio {JOB} --bs=4k --verify_only"
    )

    result = daxemu_run("sh", "-c", spoil, check=False, cwd=public_dir)

    assert result.returncode != 0
    assert "verify" in result.stderr
