"""Where the settings of the fixtures come from."""

import pytest

SHOW = """
import pytest
from daxemu.units import format_size

{marker}
def test_show(dax_factory):
    region = dax_factory()
    print()
    print("made", format_size(region.size), format_size(region.align), region.provider)
"""

OTHERS = {"size": "8M", "align": "4K", "provider": "hmem"}


@pytest.fixture
def made(pytester):
    """Run a test that makes a region; what that is like."""

    def run(*options, marker=""):
        pytester.makepyfile(SHOW.format(marker=marker))
        result = pytester.runpytest("-s", *options)
        result.assert_outcomes(passed=1)
        [line] = [line for line in result.outlines if line.startswith("made ")]
        return dict(zip(("size", "align", "provider"), line.split()[1:], strict=True))

    return run


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_an_option_sets_the_default(made, name, value):
    assert made(f"--daxemu-{name}={value}")[name] == value


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_an_ini_key_sets_the_default(made, pytester, name, value):
    pytester.makeini(f"[pytest]\ndaxemu_{name} = {value}\n")

    assert made()[name] == value


def test_option_and_ini_key_of_the_backend_are_heeded(pytester):
    pytester.makepyfile(SHOW.format(marker=""))
    pytester.makeini("[pytest]\ndaxemu_backend = papyrus\n")

    pytester.runpytest().stdout.fnmatch_lines("*UsageError: unknown backend 'papyrus'; there are: *tmpfs*")
    pytester.runpytest("--daxemu-backend=nvram").stdout.fnmatch_lines("*unknown backend 'nvram'*")
    pytester.runpytest("--daxemu-backend=tmpfs").assert_outcomes(passed=1)


def test_marker_beats_option_beats_ini_key(made, pytester):
    pytester.makeini("[pytest]\ndaxemu_size = 4M\n")

    assert made()["size"] == "4M"
    assert made("--daxemu-size=6M")["size"] == "6M"
    assert made("--daxemu-size=6M", marker="@pytest.mark.dax(size='8M')")["size"] == "8M"


@pytest.mark.parametrize("value", ["0", "much", "3M"])
def test_a_size_that_makes_no_sense_is_an_error_that_shows_it(pytester, value):
    pytester.makepyfile(SHOW.format(marker=""))

    result = pytester.runpytest(f"--daxemu-size={value}")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(f"*UsageError: size '{value}'*")


@pytest.mark.parametrize(
    ("marker", "wrong"), [("colour='red'", "colour"), ("'64M'", "'64M'"), ("size='2M', kernal='6.1'", "kernal")]
)
def test_a_marker_that_makes_no_sense_is_a_usage_error(pytester, marker, wrong):
    pytester.makepyfile(SHOW.format(marker=f"@pytest.mark.dax({marker})"))

    result = pytester.runpytest()

    result.assert_outcomes(errors=1)
    known = "size, align, provider, backend, raw, persistence"
    expected = f"*UsageError: @pytest.mark.dax does not know {wrong}; it takes {known} by name"
    result.stdout.fnmatch_lines(expected)


def test_options_and_ini_keys_are_explained(pytester):
    output = " ".join(pytester.runpytest("--help").outlines)

    for name in ("size", "align", "provider", "backend"):
        assert f"--daxemu-{name}={name.upper()}" in output
        assert f"daxemu_{name} (string)" in output


def test_the_header_says_what_devices_are_made_of(pytester):
    pytester.makeini("[pytest]\ndaxemu_align = 4K\n")

    result = pytester.runpytest("--daxemu-size=8M")

    result.stdout.fnmatch_lines("daxemu: size 8M, align 4K, provider pmem, backend tmpfs")
