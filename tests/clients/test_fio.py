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
