"""daxio from PMDK: zeroing, and copies in both directions."""

import pytest

from tests.conftest import require


@pytest.fixture(autouse=True)
def daxio():
    return require("daxio", "pmdk-tools")


def test_daxio_zeroes_the_whole_device(daxemu_run):
    assert "copied 67108864 bytes" in daxemu_run("daxio", "-z", "-o", "/dev/dax0.0").stderr


def test_daxio_reads_back_what_it_wrote(daxemu_run, public_dir):
    image, copy = public_dir / "image", public_dir / "copy"
    image.write_bytes(bytes(range(256)) * 8192)
    image.chmod(0o666)
    script = f"daxio -i {image} -o /dev/dax0.0 && daxio -i /dev/dax0.0 -l 2097152 -o {copy}"

    daxemu_run("sh", "-c", script)

    assert copy.read_bytes() == image.read_bytes()


def test_daxio_honours_offsets(daxemu_run, public_dir):
    copy = public_dir / "copy"
    script = f"printf 'hello device' | daxio -o /dev/dax0.0 -s 5000 && daxio -i /dev/dax0.0 -k 5006 -l 6 -o {copy}"

    daxemu_run("sh", "-c", script)

    assert copy.read_bytes() == b"device"


def test_daxio_copies_between_two_devices(daxemu_run):
    script = """
        printf 'hello other device' | daxio -o /dev/dax0.0 -s 4096
        daxio -i /dev/dax0.0 -k 4102 -o /dev/dax1.0 -s 2097153 -l 12 &&
        daxio -i /dev/dax1.0 -k 2097153 -l 12
    """
    options = ("--region", "size=16M", "--region", "size=16M,align=4K")
    assert daxemu_run("sh", "-c", script, options=options).stdout == "other device"


def test_daxio_refuses_to_write_past_the_end(daxemu_run):
    result = daxemu_run("daxio", "-z", "-o", "/dev/dax0.0", "-s", "65M", check=False)

    assert result.returncode == 1
    assert "offset beyond device size" in result.stderr
