"""The plugin as a guest in other people's test runs."""

import os
import subprocess
import sys

import pytest

from daxemu import Engine

USES_DEVICES = """
import pytest

@pytest.mark.dax(size="4M")
@pytest.mark.parametrize("n", range(4))
def test_device(dax_device, n):
    with dax_device.open() as file, file.mmap() as memory:
        memory[0] = n
        assert dax_device.run(["test", "-c", dax_device.path]).returncode == 0
        assert memory[0] == n
"""

UNTIDY = """
kept = []

def test_untidy(dax_device, dax_factory):
    kept.append(dax_device.open())
    kept.append(kept[0].mmap())
    kept.append(dax_factory(size="4M").devices[0].open())
    dax_device.run(["true"], check=True)
    assert not kept
"""

UNAVAILABLE = """
import daxemu
from daxemu.backing import BackingStore, Probe
from daxemu.plugins import load_plugins

class TapeStore(BackingStore):
    name = "tape"

    @classmethod
    def probe(cls, where=""):
        return Probe(False, "no tape in drive", "insert one")

    def create(self, label, size):
        raise NotImplementedError

class Plugin:
    @daxemu.hookimpl
    def daxemu_register_backends(self):
        return [TapeStore]

load_plugins().register(Plugin())
"""


@pytest.mark.parametrize("options", [("-W", "error"), ("-n", "2"), ("--strict-markers", "--strict-config")])
def test_devices_work_under_any_options(pytester, options):
    pytester.makepyfile(USES_DEVICES)

    result = pytester.runpytest_subprocess(*options)

    result.assert_outcomes(passed=4)
    assert result.stderr.str() == ""


def test_a_run_without_the_plugin_knows_nothing_of_it(pytester):
    pytester.makepyfile("def test_device(dax_device): pass")

    result = pytester.runpytest_subprocess("-p", "no:daxemu")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*fixture 'dax_device' not found")
    result.stdout.no_fnmatch_line("daxemu:*")


def test_the_marker_is_registered(pytester):
    pytester.runpytest("--markers").stdout.fnmatch_lines(
        "@pytest.mark.dax(size=, align=, provider=, backend=, raw=, persistence=): ?*"
    )


@pytest.mark.parametrize("fixture", ["dax_device", "dax_region", "dax_factory", "dax_engine"])
def test_every_fixture_is_explained(pytester, fixture):
    lines = pytester.runpytest("--fixtures").outlines

    [position] = [n for n, line in enumerate(lines) if line.startswith(f"{fixture} -- ")]
    assert lines[position + 1].startswith("    ")
    assert len(lines[position + 1].split()) >= 5


def test_a_store_that_does_not_work_here_skips_the_test_and_says_what_would_help(pytester):
    pytester.makeconftest(UNAVAILABLE)
    pytester.makepyfile("def test_device(dax_device): pass")

    result = pytester.runpytest_subprocess("-rs", "--daxemu-backend=tape")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("SKIPPED *backend 'tape' does not work here: no tape in drive; insert one")


def test_a_test_that_fails_and_closes_nothing_leaves_nothing(pytester, runtime_dir):
    pytester.makepyfile(UNTIDY)
    with Engine() as engine:  # the store opens its tmpfs once in a process
        engine.add_region("2M")
    before = os.listdir("/proc/self/fd")

    pytester.runpytest_inprocess().assert_outcomes(failed=1)

    assert list(runtime_dir.iterdir()) == []
    assert os.listdir("/proc/self/fd") == before


def test_many_tests_use_no_more_descriptors_than_one(pytester):
    pytester.makepyfile(USES_DEVICES.replace("range(4)", "range(40)"))
    before = os.listdir("/proc/self/fd")

    pytester.runpytest_inprocess().assert_outcomes(passed=40)

    assert os.listdir("/proc/self/fd") == before


def test_a_run_that_uses_no_device_imports_nothing_but_the_plugin():
    code = "import sys, daxemu.pytest_plugin; print(*(name for name in sys.modules if name.startswith('daxemu')))"

    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert sorted(imported) == ["daxemu", "daxemu.pytest_plugin"]
