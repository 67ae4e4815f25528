"""The shell's tools: what they show of a device is what they would show of a real one."""

import os
import re
from pathlib import Path

import pytest

from tests.conftest import require


@pytest.fixture
def shell(daxemu_run):
    """Run a bash script; its output."""
    return lambda script, **kwargs: daxemu_run("bash", "-c", script, **kwargs).stdout


def test_stat_shows_a_character_special_file_with_its_number(shell):
    kind, major, minor, size = shell("stat -c '%F;%Hr;%Lr;%s' /dev/dax0.0").strip().split(";")

    assert kind == "character special file"
    registered = Path("/proc/devices").read_text().partition("Block")[0].split()
    assert major not in registered[2::2], "a real driver has this number"
    assert (minor, size) == ("0", "0")


def test_every_tool_agrees_on_the_number(shell):
    number = shell("cat /sys/bus/dax/devices/dax0.0/dev").strip()
    major, minor = number.split(":")

    assert re.match(rf"crw------- 1 \S+ \S+ {major}, +{minor} .* /dev/dax0.0$", shell("ls -l /dev/dax0.0").strip())
    assert f"{major},{minor}" in shell("tar cf - -C / dev/dax0.0 | tar tvf -")
    code = 'import os; s=os.stat("/dev/dax0.0"); print(f"{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}")'
    assert shell(f"python3 -c '{code}'").strip() == number
    code = 'import os; s=os.fstat(os.open("/dev/dax0.0", 2)); print(f"{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}")'
    assert shell(f"python3 -c '{code}'").strip() == number


def test_the_node_is_found_where_directories_are_listed(shell):
    assert shell("find /dev -maxdepth 1 -name 'dax*' -type c").split() == ["/dev/dax0.0"]
    assert shell("ls /dev | grep dax").split() == ["dax0.0"]
    assert shell("echo /dev/dax*").split() == ["/dev/dax0.0"]
    assert shell("cd /dev && echo dax* && test -c dax0.0").split() == ["dax0.0"]
    code = (
        'import glob, os; print(glob.glob("/dev/dax*"), "null" in os.listdir("/dev"),'
        'len(os.listdir("/sys/bus/dax/devices")))'
    )
    assert shell(f"python3 -c '{code}'").strip() == "['/dev/dax0.0'] True 1"


def test_the_rest_of_dev_and_sys_is_the_machines_own(shell):
    def outside(path):
        return {name for name in os.listdir(path) if not name.startswith("dax")}

    assert outside("/dev") <= set(shell("ls /dev").split())
    assert outside("/sys/class") <= set(shell("ls /sys/class").split())
    assert shell("cat /proc/sys/kernel/ostype").strip() == "Linux"


def test_test_c_is_true_and_test_f_is_not(shell):
    shell("test -c /dev/dax0.0 && ! test -f /dev/dax0.0 && ! test -e /dev/dax0.1 && ! test -x /dev/dax0.0")


def test_attributes_are_read_through_the_bus(shell):
    size, align, resource, dev = shell("cat /sys/bus/dax/devices/dax0.0/{size,align,resource,dev}").split()

    assert (size, align) == (str(64 << 20), str(2 << 20))
    assert int(resource, 16) % (2 << 20) == 0
    assert shell(f"readlink -f /sys/dev/char/{dev}").strip().endswith("/ndbus0/region0/dax0.0/dax0.0")
    assert shell(f"readlink -f /sys/dev/char/{dev}/subsystem").strip() == "/sys/bus/dax"
    assert shell(f"cd -P /sys/dev/char/{dev} && pwd && cat size").split()[1] == size


def test_attributes_have_the_modes_and_the_size_of_sysfs(shell):
    shown = shell("cd /sys/bus/dax/devices/dax0.0/ && stat -c '%n %a %s' size align resource uevent")

    assert shown.splitlines() == ["size 444 4096", "align 444 4096", "resource 400 4096", "uevent 644 4096"]
    assert shell("stat -f -c %T /sys/bus/dax/devices").strip() == "sysfs"


def test_a_read_only_attribute_refuses_to_be_written_even_by_root(daxemu_run):
    result = daxemu_run("sh", "-c", "echo 1 > /sys/bus/dax/devices/dax0.0/size", check=False)

    assert result.returncode != 0
    assert "Permission denied" in result.stderr
    assert daxemu_run("cat", "/sys/bus/dax/devices/dax0.0/size").stdout == f"{64 << 20}\n"


@pytest.mark.parametrize(
    "command",
    ["cat /dev/dax0.0", "head -c 1 /dev/dax0.0", "cp /dev/dax0.0 copy", "dd if=/dev/dax0.0 count=1"],
)
def test_a_device_cannot_be_read_as_a_file(daxemu_run, public_dir, command):
    result = daxemu_run("sh", "-c", command, check=False, cwd=public_dir)

    assert result.returncode != 0
    assert "Invalid argument" in result.stderr


def test_writing_to_a_device_as_a_file_changes_nothing(daxemu_run):
    script = (
        "echo hello > /dev/dax0.0; dd if=/dev/zero of=/dev/dax0.0 bs=1M count=1; truncate -s 0 /dev/dax0.0;"
        "daxio -i /dev/dax0.0 -l 16 | od -An -c"
    )
    require("daxio", "pmdk-tools")

    result = daxemu_run("sh", "-c", script)

    assert result.stderr.count("Invalid argument") + result.stderr.count("I/O error") >= 2
    assert set(result.stdout.split()) == {"\\0"}


def test_python_maps_and_writes_the_device(shell):
    code = (
        'import os,mmap; f=os.open("/dev/dax0.0",os.O_RDWR); m=mmap.mmap(f,2<<20); m[:5]=b"hello"; print(m[:5]);'
        'print(mmap.mmap(os.open("/dev/dax0.0",os.O_RDONLY),4<<20,prot=mmap.PROT_READ)[:5])'
    )

    assert shell(f"python3 -c '{code}'").splitlines() == ["b'hello'", "b'hello'"]


def test_a_program_with_a_cleared_environment_sees_the_device(shell):
    assert shell("env -i /bin/ls /dev/dax0.0").strip() == "/dev/dax0.0"
    assert shell("env -i sh -c 'exec stat -c %F /dev/dax0.0'").strip() == "character special file"


def test_a_link_to_the_device_is_followed(shell, public_dir):
    (public_dir / "link").symlink_to("/dev/dax0.0")

    assert shell(f"readlink {public_dir}/link").strip() == "/dev/dax0.0"
    assert shell(f"stat -L -c %F {public_dir}/link").strip() == "character special file"
    assert (
        shell(
            f'python3 -c \'open("{public_dir}/link", "r+b", 0).fileno()\' && test -c {public_dir}/link; echo $?'
        ).strip()
        == "0"
    )


def test_chmod_and_rm_work_on_the_node(shell):
    assert shell("chmod 644 /dev/dax0.0 && stat -c %a /dev/dax0.0").strip() == "644"
    assert shell("rm /dev/dax0.0 && ls /dev | grep -c dax || true").strip() == "0"


def test_a_program_keeps_its_directory_and_descriptors_when_it_starts_others_elsewhere(shell):
    """subprocess starts programs with vfork: the child changes directory and descriptors in its parent's memory."""
    code = """
import mmap, os, subprocess
device = os.open("/dev/dax0.0", os.O_RDWR)
os.chdir("/tmp")
subprocess.run(["ls", "dax0.0"], cwd="/dev", check=True, stdout=subprocess.DEVNULL)
assert not os.path.exists("dax0.0")
os.chdir("/dev")
subprocess.run(["true"], cwd="/tmp", stdin=subprocess.DEVNULL, check=True)
assert os.path.exists("dax0.0")
if os.fork() == 0:
    os.chdir("/tmp")
    os._exit(os.path.exists("dax0.0"))
assert os.wait()[1] == 0
try:
    os.read(device, 1)
except OSError as error:
    print(error.errno)
"""
    assert shell(f"python3 -c '{code}'").strip() == "22"


def test_aliases_that_come_and_go_do_not_use_the_engine_up(daxemu_run, public_dir):
    code = (
        "import os, stat; number = os.stat('/dev/dax0.0').st_rdev\n"
        "for _ in range(1500):\n"
        "    os.mknod('alias', 0o600 | stat.S_IFCHR, number); os.close(os.open('alias', os.O_RDWR)); os.unlink('alias')"
    )
    daxemu_run("python3", "-c", code, cwd=public_dir)
