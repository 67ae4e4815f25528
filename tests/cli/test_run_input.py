"""What ``daxemu run`` says when it is asked for what cannot be."""

import pytest

from .conftest import error_line


@pytest.mark.parametrize(
    ("region", "complaint"),
    [
        ("backend=nvram", "unknown backend 'nvram'; there are: file, tmpfs"),
        ("provider=floppy", "unknown provider 'floppy'; there are: "),
        ("colour=red", "'colour=red' is not key=value with a key of size, align, provider, backend"),
        ("size", "'size' is not key=value"),
        ("size=2M,size=4M", "size is given twice"),
        ("size=much", "size 'much' is not a number"),
        ("size=-2M", "size '-2M' is not a number"),
        ("size=3M", "size '3M' is not a multiple of the alignment 2M"),
        ("size=0", "size '0'"),
        ("size=900T", "900T is more than"),
        ("align=3", "alignment '3': a device is aligned to 4K, 2M, 1G"),
    ],
)
def test_a_region_that_makes_no_sense_is_one_line_and_status_2(daxemu, runtime_dir, region, complaint):
    result = daxemu("run", "--region", region, "--", "true")

    assert result.returncode == 2
    assert complaint in error_line(result)
    assert list(runtime_dir.iterdir()) == []


def test_the_program_is_not_started_when_one_of_several_regions_makes_no_sense(daxemu, tmp_path):
    trace = tmp_path / "trace"

    result = daxemu("run", "--region", "size=4M", "--region", "size=5M", "--", "touch", trace)

    assert result.returncode == 2
    assert "size '5M'" in error_line(result)
    assert not trace.exists()


@pytest.mark.parametrize("arguments", [["--regoin", "size=1G", "--", "true"], ["--region", "size=1G"], []])
def test_a_call_that_makes_no_sense_is_explained_with_status_2(daxemu, arguments):
    result = daxemu("run", *arguments)

    assert result.returncode == 2
    assert result.stderr.startswith("Usage: ")
