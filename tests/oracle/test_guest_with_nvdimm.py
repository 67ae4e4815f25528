"""A Linux guest whose NVDIMM is the device: what it writes is found there, what was there it reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daxemu import Engine
from tests.conftest import require
from tests.oracle.kernel import KERNELS, Kernel
from tests.oracle.machine import initramfs

M = 1 << 20
SIZE = 128 * M
MODULES = ("dax", "libnvdimm", "nd_btt", "nd_pmem", "nfit")
GREETING = b"written by the host before there was a guest\n"
PATTERN = b"written by the guest\n"

INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {modules}; do insmod "/modules/$module.ko"; done
tries=0; until [ -b /dev/pmem0 ] || [ $tries = 200 ]; do usleep 50000; tries=$((tries + 1)); done
echo "size: $(cat /sys/block/pmem0/size) sectors"
echo "greeting: $(dd if=/dev/pmem0 bs=1M skip=5 count=1 2>/dev/null | head -n 1)"
yes 'written by the guest' | head -c 1048576 >/pattern
write() {{ dd if=/pattern of=/dev/pmem0 bs=1M seek=$1 conv=fsync,notrunc 2>/dev/null && echo "written: $1"; }}
write 9; write 127
sync
poweroff -f
"""


def root(kernel: Kernel) -> dict[str, tuple[int, bytes]]:
    """The guest's files: mode and contents by path."""
    modules = {name: data for name in MODULES if (data := kernel.module(name)) is not None}
    files = {f"{name}/": (0o040755, b"") for name in ("bin", "dev", "modules", "proc", "sys")}
    files["init"] = (0o100755, INIT.format(modules=" ".join(modules)).encode())
    files["bin/busybox"] = (0o100755, Path("/bin/busybox").read_bytes())
    return files | {f"modules/{name}.ko": (0o100644, data) for name, data in modules.items()}


def qemu(kernel: Kernel, work: Path, path: str) -> list[str]:
    return [
        *("qemu-system-x86_64", "-machine", "q35,nvdimm=on", "-accel", "tcg", "-cpu", "max"),
        *("-m", "512M,slots=2,maxmem=2G"),
        *("-object", f"memory-backend-file,id=m,mem-path={path},share=on,pmem=on,align=2M,size=128M"),
        *("-device", "nvdimm,id=nv,memdev=m"),
        *("-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", "-serial", f"file:{work / 'console'}"),
        *("-kernel", str(kernel.image), "-initrd", str(work / "initrd")),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr"),
    ]


@pytest.mark.parametrize("version", KERNELS)
def test_a_guest_reads_and_writes_the_device_as_its_nvdimm(real_kernel, version, tmp_path):
    kernel = real_kernel(version)
    (tmp_path / "initrd").write_bytes(initramfs(root(kernel)))
    with Engine() as engine:
        device = engine.add_region(SIZE).devices[0]
        with device.open() as file, file.mmap() as memory:
            memory[5 * M : 5 * M + len(GREETING)] = GREETING

        engine.run(qemu(kernel, tmp_path, device.path), stdin=subprocess.DEVNULL, check=True, timeout=150)

        console = (tmp_path / "console").read_text(errors="replace")
        assert f"size: {SIZE // 512} sectors" in console, console
        assert f"greeting: {GREETING.decode().rstrip()}" in console, console
        assert "written: 9" in console, console
        assert "written: 127" in console, console
        pattern = PATTERN * (M // len(PATTERN) + 1)
        with device.open("r") as file, file.mmap() as memory:
            for at in (9 * M, 127 * M):
                assert memory[at : at + M] == pattern[:M]
            assert memory[8 * M : 9 * M] == bytes(M)
        require("daxio")
        command = ["daxio", "--input", device.path, "--skip", str(9 * M), "--len", str(M)]
        assert engine.run(command, stdout=subprocess.PIPE, check=True).stdout == pattern[:M]
