"""A C program is compiled once, and run on a device that only the test knows is none."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("header.c")


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt install gcc")
    path = tmp_path_factory.mktemp("bin") / "header"
    subprocess.run([compiler, "-Wall", "-Werror", "-o", path, SOURCE], check=True)
    return path


@pytest.fixture
def header(program, dax_device):
    return lambda: dax_device.run([program, dax_device], capture_output=True, text=True)


def test_header_is_written_once_and_found_again(header):
    assert header().stdout == "formatted, start 1\n"
    assert header().stdout == "start 2\n"


def test_header_lies_at_the_start_of_the_device(header, dax_device):
    header()
    with dax_device.open("r") as file, file.mmap() as memory:
        assert memory[0:8] == b"EXAMPLE\0"


@pytest.mark.dax(align="1G", size="1G")
def test_mapping_shorter_than_the_alignment_is_refused(header):
    assert header().stderr == "mmap: Invalid argument\n"


def test_dead_device_cannot_be_opened(header, dax_device):
    dax_device.kill()
    result = header()
    assert (result.returncode, result.stderr) == (1, "/dev/dax0.0: No such device or address\n")
