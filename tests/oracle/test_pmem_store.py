"""The plugin daxemu-pmem on real persistent memory: a guest with two NVDIMMs runs this very Python and daxemu.

The guest sees the machine's own file system, read-only. On one NVDIMM there is an ext4 that is mounted with
-o dax, the other becomes /dev/dax1.0. What was stored on them is there after the guest has been booted again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import require
from tests.oracle.kernel import Kernel
from tests.oracle.machine import initramfs

M = 1 << 20
ROOT = Path(__file__).parents[2]
# In the order in which they need each other; what a kernel has built in is left out.
MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("fscache", "netfs", "9pnet", "9pnet_virtio", "9p", "fuse", "crc16", "crc32c_generic", "libcrc32c"),
    *("mbcache", "jbd2", "ext4", "dax", "libnvdimm", "nd_btt", "nd_pmem", "nfit", "device_dax", "dax_pmem"),
)

INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {modules}; do insmod "/modules/$module.ko"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host
for at in proc sys dev; do mount -o bind /$at /host/$at; done
mount -t tmpfs run /host/run; mkdir /host/run/tmp /host/run/pmem /dev/shm; mount -t tmpfs shm /dev/shm
nd=/sys/bus/nd
until [ -e $nd/devices/namespace1.0 ]; do usleep 10000; done
# claim REGION SEED DRIVER UUID: make the raw namespace of a region one with an info block.
claim() {{
  until [ -e $nd/drivers/nd_pmem/namespace$1.0 ]; do usleep 10000; done
  echo namespace$1.0 >$nd/drivers/nd_pmem/unbind
  seed=$(cat $nd/devices/region$1/$2)
  echo 2097152 >$nd/devices/$seed/align; echo ram >$nd/devices/$seed/mode; echo $4 >$nd/devices/$seed/uuid
  echo namespace$1.0 >$nd/devices/$seed/namespace; echo $seed >$nd/drivers/$3/bind
}}
{prepare}
until [ -b /dev/pmem0 ] && [ -c /dev/dax1.0 ]; do usleep 10000; done
{make}
mount -t ext4 -o dax /dev/pmem0 /host/run/pmem
ls -l /dev/dax1.0; grep pmem0 /proc/mounts
cd /host{root}
export PATH={path} TMPDIR=/run/tmp HOME=/run/tmp XDG_RUNTIME_DIR=/run/tmp
export PYTHONDONTWRITEBYTECODE=1 DAXEMU_PMEM_DIRECTORY=/run/pmem
chroot /host sh -c 'cd {root} && exec timeout 600 {command}'
echo "status: $?"
umount /host/run/pmem
poweroff -f
"""

PREPARE = """\
claim 0 pfn_seed nd_pmem 1d9c4b7a-52f3-4e08-8b6d-90c1e7a3f254
claim 1 dax_seed dax_pmem 7a2f1c9e-8d41-4e0b-9c53-2b1d6f0a4e87"""
MAKE = "chroot /host mkfs.ext4 -q -b 4096 /dev/pmem0"

STORE = r"""
import daxemu, os, sys
def device(engine, backend, size):
    return engine.add_region(size, backend=backend).devices[0]
def real_size(path):
    number = os.stat(path).st_rdev
    return int(open(f"/sys/dev/char/{os.major(number)}:{os.minor(number)}/size").read())
PROGRAM = "import mmap, os; mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 4 << 20)[4096:4100] = b'prog'"
for backend, size in ("pmem:/run/pmem/pool", 8 << 20), ("pmem:/dev/dax1.0", real_size("/dev/dax1.0")):
    with daxemu.Engine() as engine:
        dax = device(engine, backend, size)
        with dax.open() as file, file.mmap() as memory:
            if sys.argv[1] == "write":
                memory[0:5] = b"hello"
                dax.run([sys.executable, "-c", PROGRAM], check=True)
                smaps = open("/proc/self/smaps").read().partition(f"{memory.address:x}-")[2]
                assert " sf " in smaps.partition("VmFlags:")[2].partition("\n")[0], smaps[:2000]
                dax.kill()
                dax.revive()
            found = bytes(memory[0:5]), bytes(memory[4096:4100])
    print(backend, found)
    assert found == (b"hello", b"prog"), found
"""


def root(kernel: Kernel, command: str, *, first: bool) -> dict[str, tuple[int, bytes]]:
    """The guest's own files; everything else it has from the machine."""
    modules = {name: data for name in MODULES if (data := kernel.module(name)) is not None}
    init = INIT.format(
        modules=" ".join(modules),
        path=f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        root=ROOT,
        command=command,
        prepare=PREPARE if first else "",
        make=MAKE if first else "",
    )
    files = {f"{name}/": (0o040755, b"") for name in ("bin", "dev", "host", "modules", "proc", "sys")}
    files["init"] = (0o100755, init.encode())
    files["bin/busybox"] = (0o100755, Path("/bin/busybox").read_bytes())
    return files | {f"modules/{name}.ko": (0o100644, data) for name, data in modules.items()}


def boot(kernel: Kernel, work: Path, command: str, *, first: bool) -> str:
    """Boot with the two NVDIMMs, run a command, and return what was on the console."""
    (work / "initrd").write_bytes(initramfs(root(kernel, command, first=first)))
    nvdimms = [
        word
        for n in range(2)
        for word in (
            *("-object", f"memory-backend-file,id=m{n},mem-path={work / f'nvdimm{n}'},share=on,size=128M"),
            *("-device", f"nvdimm,id=nv{n},memdev=m{n}"),
        )
    ]
    line = [
        *("qemu-system-x86_64", "-machine", "q35,nvdimm=on", "-accel", "tcg", "-cpu", "max", "-smp", "2"),
        *("-m", "2G,slots=2,maxmem=4G", *nvdimms),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
        *("-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", "-serial", f"file:{work / 'console'}"),
        *("-kernel", str(kernel.image), "-initrd", str(work / "initrd")),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr"),
    ]
    subprocess.run(line, stdin=subprocess.DEVNULL, check=True, timeout=900)
    return (work / "console").read_text(errors="replace")


@pytest.mark.skipif(os.geteuid() != 0, reason="the guest reads the machine's files as their owner: run as root")
def test_devices_on_real_persistent_memory(real_kernel, tmp_path):
    if find_spec("daxemu_pmem") is None:
        text = "the plugin is not installed: pip install plugins/daxemu-pmem"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    require("mkfs.ext4", "e2fsprogs")
    kernel = real_kernel("6.12")
    for n in range(2):
        with (tmp_path / f"nvdimm{n}").open("wb") as file:
            file.truncate(128 * M)
    script = tmp_path / "store.py"
    script.write_text(STORE)

    suite = "python -m pytest -q -p no:cacheprovider -c examples/pytest.ini --rootdir plugins plugins/daxemu-pmem"
    console = boot(kernel, tmp_path, f"sh -c '{suite} && python {script} write'".replace("'", '"'), first=True)
    assert "status: 0" in console, console
    assert "skipped" not in console, console

    console = boot(kernel, tmp_path, f"python {script} read", first=False)
    assert "status: 0" in console, console
