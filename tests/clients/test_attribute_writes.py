"""Unmodified programs write attributes: what happens, how they end, and what they say."""

from __future__ import annotations

import re

import pytest

from tests.conftest import require

REGION = ("--region", "provider=hmem,size=64M")
PLACES = """
R=/sys/devices/platform/hmem.0/dax_region
D=/sys/bus/dax/devices
B=/sys/bus/dax/drivers/device_dax
S=$D/dax0.0/size
free() { echo dax0.0 > $B/unbind; echo 4194304 > $S; }
"""


@pytest.fixture
def shell(daxemu_run):
    """Run a bash script on a machine with dax0.0, 64 MiB of a dynamic region, bound."""

    def run(script: str, *, check: bool = True, options: tuple[str, ...] = REGION, **kwargs):
        return daxemu_run("bash", "-c", PLACES + script, options=options, check=check, **kwargs)

    return run


def python(code: str) -> str:
    return f"python3 -c '{code}'"


# One write of $V to $S by each program; what it says and how it ends when the kernel answers EINVAL.
WRITERS = {
    "bash echo": ("bash -c 'echo $V > $S'", 1, "echo: write error: Invalid argument"),
    "bash printf": ("bash -c 'printf $V > $S'", 1, "printf: write error: Invalid argument"),
    "dash echo": ("dash -c 'echo $V > $S'", 1, "echo: I/O error"),
    "dash printf": ("dash -c 'printf $V > $S'", 1, "printf: I/O error"),
    "echo": ("/bin/echo $V > $S", 1, "write error: Invalid argument"),
    "printf": ("/usr/bin/printf $V > $S", 1, "write error: Invalid argument"),
    "tee": ("echo $V | tee $S > /dev/null", 1, "Invalid argument"),
    "cat": ("cat < <(cat value) > $S", 1, "write error: Invalid argument"),
    "cp": ("cp <(cat value) $S", 1, "error writing '.*/size': Invalid argument"),
    "dd": ("dd if=value of=$S status=none", 1, "error writing '.*/size': Invalid argument"),
    "sed": ("sed s/x/y/ value > $S", 4, "Invalid argument"),
    "perl print": ('perl -e \'open F, ">", $ENV{S}; print F $ENV{V}; close F or die "$!\\n"\'', 22, "Invalid argument"),
    "perl syswrite": ('perl -e \'open F, ">", $ENV{S}; syswrite F, $ENV{V} or die "$!\\n"\'', 22, "Invalid argument"),
    "os.write": (
        python('import os; os.write(os.open(os.environ["S"], os.O_WRONLY), os.environb[b"V"])'),
        1,
        r"OSError: \[Errno 22\] Invalid argument",
    ),
    "python write": (
        python('import os; f = open(os.environ["S"], "w"); f.write(os.environ["V"]); f.flush()'),
        1,
        r"OSError: \[Errno 22\] Invalid argument",
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_program_writes_and_tells_of_a_refusal(shell, public_dir, name):
    command, status, message = WRITERS[name]
    require(command.split()[0])
    script = f"free; export S V; set -o pipefail; V=2097152; echo $V > value; {command}; echo $?; cat $S;"
    script += f"V=4096; echo $V > value; {command}; echo $?; cat $S"

    result = shell(script, cwd=public_dir)

    assert result.stdout.split() == ["0", "2097152", str(status), "2097152"]
    assert len(result.stderr.splitlines()) == 1 or name.startswith(("os", "python"))
    assert re.search(message, result.stderr)


@pytest.mark.parametrize(
    "command",
    ["cp value $S", "cat value > $S", python('import os, shutil; shutil.copyfile("value", os.environ["S"])')],
)
def test_a_copy_made_by_the_kernel_is_a_write_too(shell, public_dir, command):
    script = f"free; export S; echo 2097152 > value; {command}; stat -c %s /dev/dax0.0; cat $S; echo 2097152 > $S;"
    script += f"echo 4096 > value; {command}; echo $?; cat $S"

    assert shell(script, cwd=public_dir).stdout.split() == ["0", "2097152", "1", "2097152"]


def test_python_prints_into_an_attribute(shell):
    code = python("print(2097152)")

    assert shell(f"free; {code} > $S; cat $S").stdout.split() == ["2097152"]


def test_no_file_can_be_made_beside_attributes(shell):
    said = shell("cd $D/dax0.0; echo 1 > nosuch || cat nosuch; touch other || ls").stdout.split()

    assert "nosuch" not in said
    assert "other" not in said
    assert "size" in said


def test_a_descriptor_reads_what_the_attribute_is_now(shell):
    code = r"""
import os
fd = os.open(os.environ["S"], os.O_RDWR)
os.write(fd, b"2097152")
print(os.pread(fd, 100, 0).decode())
"""
    assert shell(f"free; export S; {python(code)}").stdout.split() == ["2097152"]


def test_each_errno_has_its_message(shell):
    script = """
    echo 2097152 > $S; free
    echo 99999999999999999999999 > $S; echo 1G > $S; echo $((1 << 40)) > $S; echo 4K > $D/dax0.0/align
    echo nope > $B/bind; echo 1 > $D/dax0.0/memmap_on_memory; echo 0-1fffff > $D/dax0.0/mapping; echo x > $R/delete
    """

    said = [line.rpartition(": ")[2] for line in shell(script, check=False).stderr.splitlines()]

    assert said == [
        "Device or resource busy",
        "Numerical result out of range",
        "Invalid argument",
        "No space left on device",
        "No such device or address",
        "No such device",
        "Operation not supported",
        "Cannot allocate memory",
        "No such device or address",
    ]


@pytest.mark.parametrize("name", ["modalias", "resource", "dev", "mapping0/start"])
def test_what_has_no_write_bit_cannot_be_written_by_anyone(shell, name):
    path = f"$D/dax0.0/{name}"
    script = f"cat {path} | sha1sum; echo 1 > {path}; echo $?; echo 1 | tee {path}; echo $?; cat {path} | sha1sum"

    result = shell(script)

    before, *said, after = result.stdout.split("\n")[:-1]
    assert said == ["1", "1", "1"]  # the one in the middle is what tee shows
    assert before == after


def test_what_has_no_write_bit_is_permission_denied(shell):
    names = "$R/{id,size,align,available_size,seed} $D/dax0.0/{modalias,resource,dev,target_node,mapping0/end}"

    said = shell(f"for f in {names}; do echo 1 > $f || echo 1 >> $f || true; done").stderr.splitlines()

    assert len(said) == 20
    assert all(line.endswith(": Permission denied") for line in said)


def test_what_has_no_read_bit_is_permission_denied(shell):
    said = shell("cat $R/delete $D/dax0.0/mapping $B/{bind,unbind,new_id,remove_id}", check=False).stderr.splitlines()

    assert len(said) == 6
    assert all(line.endswith(": Permission denied") for line in said)


def test_a_static_device_cannot_be_resized(shell):
    script = "echo 2097152 > $S; echo 4096 > $D/dax0.0/align; echo $(cat $S)"

    result = shell(script, options=("--region", "provider=pmem,size=64M"))

    assert result.stdout.split() == [str(64 << 20)]
    assert result.stderr.count("Permission denied") == 2


def test_a_write_returns_its_length_whatever_follows_a_zero_byte(shell):
    code = r"""
import os
fd = os.open(os.environ["S"], os.O_WRONLY)
for data in (b"0x200000\n\0", b"4194304\0junk", b"2097152" + bytes(4089)):
    print(os.write(fd, data), open(os.environ["S"]).read().strip())
"""
    said = shell(f"free; export S; {python(code)}").stdout.splitlines()

    assert said == ["10 2097152", "12 4194304", "4096 2097152"]


def test_more_than_a_page_is_cut_off(shell):
    code = r"""
import os
fd = os.open(os.environ["S"], os.O_WRONLY)
print(os.write(fd, b"0x" + b"0" * 4088 + b"200000" + b"99"))
print(os.write(fd, b"4194304" + bytes(100000)))
"""
    result = shell(f"free; export S; {python(code)}; cat $S")

    assert result.stdout.split() == ["4096", "4096", "4194304"]


def test_every_write_is_one_store(shell):
    code = r"""
import os
fd = os.open(os.environ["R"] + "/create", os.O_WRONLY)
os.write(fd, b"1"); os.write(fd, b"1"); os.pwrite(fd, b"1", 77); os.writev(fd, [b"0x", b"1", b"\n"])
print(os.write(fd, b""))
"""
    result = shell(f"free; export R; {python(code)}; ls -d $D/*; cat $R/create")

    names = [line.rpartition("/")[2] for line in result.stdout.split()]
    assert names == ["0", "dax0.0", "dax0.1", "dax0.2", "dax0.3", "dax0.4", "dax0.4"]


def test_how_the_file_is_opened_makes_no_difference(shell):
    code = r"""
import os
path = os.environ["S"]
for number, flags in enumerate([os.O_TRUNC, os.O_APPEND, os.O_CREAT, os.O_TRUNC | os.O_CREAT | os.O_APPEND]):
    for mode in (os.O_WRONLY, os.O_RDWR):
        fd = os.open(path, flags | mode)
        size = open(path).read()
        assert int(size) > 0, "opening alone changes nothing"
        os.write(fd, b"%d" % ((number + 1) << 21))
        assert int(open(path).read()) == (number + 1) << 21
        os.close(fd)
try:
    os.write(os.open(path, os.O_RDONLY), b"0")
except OSError as error:
    print(error.errno)
"""
    assert shell(f"free; export S; {python(code)}").stdout.split() == ["9"]
    assert shell("free; > $S; cat $S; echo 2097152 >> $S; cat $S").stdout.split() == ["4194304", "2097152"]


@pytest.mark.parametrize("program", ["bash", "dash"])
def test_a_shells_output_goes_where_it_went_before(shell, program):
    script = """
echo one; echo 2097152 > $S; echo two; echo 4096 > $S; echo $?; printf "three\\n"; exec 3> $S; echo four
echo 4194304 >&3; cat $S; echo five; echo 2097152 >&3; exec 3>&-; cat $S
( echo 4194304; ) > $S; cat $S; { echo 2097152; } > $S; cat $S; echo six > file; cat file; echo seven 1>&2
f() { echo 4194304; }; f > $S; cat $S; exec 4>&1 > $S; echo 2097152; exec >&4; echo eight; cat $S
"""
    result = shell(f"free; export S; cd $(mktemp -d); {program} -c '{script}'; rm -r $PWD")

    assert result.stdout.split() == [
        *("one", "two", "1", "three", "four", "4194304", "five", "2097152"),
        *("4194304", "2097152", "six", "4194304", "eight", "2097152"),
    ]
    assert result.stderr.splitlines()[-1] == "seven"
    assert len(result.stderr.splitlines()) == 2


def test_devices_come_and_go_in_all_directories(shell):
    script = """
    free; echo dax0.0 > $B/remove_id
    echo 1 > $R/create; echo 2097152 > $D/dax0.1/size; echo dax0.1 > $B/new_id
    test -c /dev/dax0.1; echo $?; ls $D; ls $B | grep dax; readlink $D/dax0.1/driver; cat $R/create $R/seed
    echo dax0.1 > $B/unbind; ls $B | grep -c dax; echo 0 > $D/dax0.1/size; echo dax0.1 > $R/delete
    ls /dev | grep dax; ls $D
    """
    said = shell(script).stdout.split("\n")[:-1]

    assert said == [
        *("0", "dax0.0", "dax0.1", "dax0.1", "../../../../bus/dax/drivers/device_dax", "dax0.1", ""),
        *("0", "dax0.0", "dax0.0"),
    ]


def test_an_unbound_device_is_seen_and_not_opened(shell):
    code = 'import os; os.open("/dev/dax0.0", os.O_RDWR)'
    result = shell(f"echo dax0.0 > $B/unbind; test -c /dev/dax0.0; echo $?; {python(code)}", check=False)

    assert result.stdout.split() == ["0"]
    assert "[Errno 6] No such device or address" in result.stderr


def test_the_attribute_of_a_device_that_is_gone_is_no_such_device(shell):
    script = """
    free; echo 1 > $R/create; exec 3> $D/dax0.1/size 4> $D/dax0.1/align; echo dax0.1 > $R/delete
    echo 2097152 >&3; echo $?; echo 4096 >&4; echo $?; echo 1 > $R/create; cat $D/dax0.1/size; echo 2097152 > $S; cat $S
    """
    result = shell(script)

    assert result.stdout.split() == ["1", "1", "0", "2097152"]
    assert result.stderr.count("write error: No such device\n") == 2


def test_programs_write_at_once_and_each_write_counts(shell):
    script = """
    echo 0 > /sys/bus/dax/drivers_autoprobe; free
    many() { for i in {1..10}; do echo 1 > $R/create || echo failed; done; }
    many & many & many & wait
    for i in {1..30}; do echo 2097152 > $D/dax0.$i/size & done; wait; cat $R/available_size
    for i in {1..15}; do (echo 0 > $D/dax0.$i/size; echo dax0.$i > $R/delete) & done; wait; ls $D | wc -l
    """
    result = shell(script)

    # Thirty devices in the thirty blocks that dax0.0 has left.
    assert (result.stdout.split(), result.stderr) == (["0", "16"], "")


MAPPER = r"""
import mmap, os, subprocess, sys
# Touching happens in a child, which a SIGBUS may end.
fd = os.open("/dev/dax0.0", os.O_RDWR)
m = mmap.mmap(fd, 4 << 20)
m[:5] = b"hello"
def touch(at):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        m[at]
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("mapped", flush=True)
for line in sys.stdin:
    if line.startswith("map"):
        try:
            mmap.mmap(fd, 2 << 20)
            print("mapped", flush=True)
        except OSError as error:
            print(error.errno, flush=True)
    else:
        print(touch(int(line)), flush=True)
"""


def test_a_mapping_is_revoked_before_the_write_returns(shell, public_dir):
    (public_dir / "mapper").write_text(MAPPER)
    script = """
    coproc python3 mapper
    say() { echo "$1" >&${COPROC[1]}; read -r answer <&${COPROC[0]}; echo "$2 $answer"; }
    read -r answer <&${COPROC[0]}; say 0 bound
    for i in 1 2 3; do
        echo dax0.0 > $B/unbind; say 0 unbound; say map unbound
        echo dax0.0 > $B/bind; say 0 bound
    done
    echo dax0.0 > $B/unbind; echo 2097152 > $S; echo dax0.0 > $B/bind; say 0 shrunk; say 2097152 shrunk
    """
    said = shell(script, cwd=public_dir).stdout.splitlines()

    assert said == ["bound 0", *["unbound -7", "unbound 6", "bound 0"] * 3, "shrunk 0", "shrunk -7"]


def test_memory_of_a_device_that_was_unbound_is_what_it_was(shell, public_dir):
    code = """
import mmap, os, sys
m = mmap.mmap(os.open("/dev/dax0.0", os.O_RDWR), 2 << 20)
if sys.argv[1:]: m[:5] = b"hello"
print(m[:5].decode())
"""
    (public_dir / "peek").write_text(code)
    script = "python3 peek w; echo dax0.0 > $B/unbind; echo 2097152 > $S; echo dax0.0 > $B/bind; python3 peek"

    assert shell(script, cwd=public_dir).stdout.split() == ["hello", "hello"]
