"""Attribute writes of many processes at once: each happens as if it were alone, as in the kernel."""

import errno
import random
import sys
from itertools import pairwise

from daxemu import Engine

M = 1 << 20
SIZE = 64 * M

# What each write may answer, whatever the others have just done. ENOENT, ENODEV: the device is gone.
LEGAL = {
    "create": {0, errno.ENOSPC},
    "delete": {0, errno.EBUSY, errno.ENXIO},
    "size": {0, errno.EBUSY, errno.ENOSPC, errno.ENOENT, errno.ENODEV},
    "align": {0, errno.EBUSY, errno.EINVAL, errno.ENOENT, errno.ENODEV},
    "new_id": {0},
    "bind": {0, errno.EBUSY, errno.ENXIO, errno.ENODEV},
    "unbind": {0, errno.ENODEV},
}

WRITER = """
import os, random, sys
region, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
choose = random.Random(seed)
for _ in range(rounds):
    name = f"dax0.{choose.randrange(8)}"
    drivers = "/sys/bus/dax/drivers/device_dax"
    what, path, text = choose.choice([
        ("create", f"{region}/dax_region/create", "1"),
        ("delete", f"{region}/dax_region/delete", name),
        ("size", f"{region}/{name}/size", str(choose.randrange(6) * (4 << 20))),
        ("size", f"{region}/{name}/size", "0"),
        ("align", f"{region}/{name}/align", str(choose.choice([4096, 2 << 20]))),
        ("new_id", f"{drivers}/new_id", name),
        ("bind", f"{drivers}/bind", name),
        ("unbind", f"{drivers}/unbind", name),
        ("unbind", f"{drivers}/unbind", name),
    ])
    status = 0
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            assert os.write(fd, text.encode()) == len(text)
        finally:
            os.close(fd)
    except OSError as error:
        status = error.errno
    print(what, status, flush=True)
"""

SHELL = """
region=$1; RANDOM=$2; drivers=/sys/bus/dax/drivers/device_dax
for _ in $(seq "$3"); do
    name=dax0.$((RANDOM % 8))
    case $((RANDOM % 6)) in
    0) echo create "$({ echo 1 > "$region/dax_region/create"; } 2>&1)" ;;
    1) echo delete "$(echo "$name" | tee "$region/dax_region/delete" 2>&1 > /dev/null)" ;;
    2) echo size "$({ /bin/echo $((RANDOM % 6 * 4194304)) > "$region/$name/size"; } 2>&1)" ;;
    3) echo size "$({ echo 0 > "$region/$name/size"; } 2>&1)" ;;
    4) echo new_id "$({ /bin/echo "$name" > "$drivers/new_id"; } 2>&1)" ;;
    5) echo unbind "$({ echo "$name" > "$drivers/unbind"; } 2>&1)" ;;
    esac
done
"""

MESSAGES = {
    "No space left on device": errno.ENOSPC,
    "Device or resource busy": errno.EBUSY,
    "No such device or address": errno.ENXIO,
    "No such device": errno.ENODEV,
    "No such file or directory": errno.ENOENT,
}


def answer(line: str) -> tuple[str, int]:
    """What a line of a writer or a shell says: which attribute, and the errno."""
    what, _, rest = line.partition(" ")
    if rest.isdecimal():
        return what, int(rest)
    return what, next((number for text, number in MESSAGES.items() if rest.endswith(text)), -1) if rest else 0


def check(engine, region):
    """No space is lost, and none is owned twice."""
    with engine._operation() as core:
        (model,) = core.regions.values()
        pieces = sorted((p.start, p.end) for device in model.children.values() for p in device.ranges)
        assert all(first[1] < second[0] for first, second in pairwise(pieces))
        assert sum(end - start + 1 for start, end in pieces) + model.available_size() == SIZE
        assert all(start >= model.start and end < model.start + SIZE for start, end in pieces)
        for device in model.children.values():
            assert device.size == sum(p.end - p.start + 1 for p in device.ranges)
            assert device.alive == (device.driver is not None)


def test_twenty_processes_that_write_at_random():
    seed = random.randrange(1000)
    with Engine() as engine:
        region = engine.add_region(SIZE, provider="hmem")
        found = engine.run("cd -P /sys/bus/dax/devices/dax0.0/.. && pwd", shell=True, capture_output=True, text=True)
        parent = found.stdout.strip()
        commands = [[sys.executable, "-c", WRITER, parent, str(seed + i), "40"] for i in range(12)]
        commands += [["bash", "-c", SHELL, "bash", parent, str(seed + i), "12"] for i in range(8)]
        programs = [engine.popen(command, stdout=-1, text=True) for command in commands]
        while any(program.poll() is None for program in programs):
            check(engine, region)
        lines = [line for program in programs for line in program.communicate()[0].splitlines()]
        assert [program.returncode for program in programs] == [0] * 20
        answers = [answer(line) for line in lines]
        assert len(answers) == 12 * 40 + 8 * 12
        wrong = {(what, number) for what, number in answers if number not in LEGAL[what]}
        assert not wrong, f"seed {seed}: {wrong}"
        assert {number for _, number in answers} >= {0, errno.EBUSY, errno.ENODEV}

        check(engine, region)
        shown = engine.run(["ls", "/sys/bus/dax/devices"], capture_output=True, text=True, check=True).stdout.split()
        assert shown == sorted(device.name for device in engine._core.bus.devices.values())
        for device in region.devices:
            device.destroy()
        assert region.available_size == SIZE
