"""Clients built with sanitizers or for another C library, and under valgrind."""

import subprocess

import pytest

from daxemu import Engine
from tests.conftest import PROGRAMS, require


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ["-fsanitize=address", "-static-libasan"]),
        ("gcc", ["-fsanitize=address"]),
        ("gcc", ["-fsanitize=thread"]),
        ("gcc", ["-fsanitize=undefined"]),
        ("musl-gcc", []),
    ],
    ids=["static-asan", "shared-asan", "tsan", "ubsan", "musl"],
)
def test_a_client_of_another_build_maps_the_device_and_is_revoked(tmp_path, compiler, flags, monkeypatch):
    require(compiler, "musl-tools" if "musl" in compiler else None)
    monkeypatch.setenv("ASAN_OPTIONS", "verify_asan_link_order=0:handle_sigbus=0:detect_leaks=0")
    program = tmp_path / "mapper"
    source = PROGRAMS / "mapper.c"
    if compiler == "musl-gcc":
        flags = ["-Dstrerrorname_np=strerror"]
    subprocess.run([compiler, *flags, "-o", program, source], check=True)
    check_revocation([str(program)])


def test_a_client_under_valgrind_maps_the_device_and_is_revoked(compiled):
    require("valgrind")
    check_revocation(["valgrind", "-q", str(compiled("mapper"))])


def check_revocation(command):
    with Engine() as engine:
        device = engine.add_region("4M").devices[0]
        with engine.popen([*command, device.path, "2097152"], stdin=-1, stdout=-1, text=True, bufsize=1) as client:

            def say(request):
                client.stdin.write(request + "\n")
                client.stdin.flush()
                return client.stdout.readline().strip()

            assert client.stdout.readline().startswith("ok")
            assert say("w 7 77") == "ok"
            device.kill()
            assert say("r 7") == "SIGBUS 2 7"
            device.revive()
            assert say("r 7") == "77"
            client.stdin.close()
