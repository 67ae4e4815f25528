"""A virtual machine with a real kernel: boots, does a list of jobs, and hands back what they said."""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from daxemu._core import die_with_parent
from tests.oracle.kernel import Kernel
from tests.oracle.topology import Topology

__all__ = ["Answer", "GuestError", "Job", "boot", "initramfs"]

# In the order in which they need each other; kmem is left out, for it would take the memory of dynamic regions.
_MODULES = ("dax", "libnvdimm", "nd_btt", "nd_pmem", "nd_e820", "device_dax", "dax_pmem_core", "dax_pmem", "dax_hmem")
_TIMEOUT = 200.0  # many times what it takes alone: machines are shared
_JOB_TIMEOUT = 150

_INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp; mkdir /tmp/out
stty raw -F /dev/ttyS1
for module in {modules}; do insmod "/modules/$module.ko"; done
{namespace}
answers() {{ echo "-- answers"; tar c -z -C /tmp/out . >/dev/ttyS1; }}
run() {{
  local name=$1; shift
  echo "-- $name"
  timeout -s KILL {job_timeout} "$@" <"/jobs/$name" >"/tmp/out/$name.output" 2>"/tmp/out/$name.said"
  echo $? >"/tmp/out/$name.status"
}}
stays() {{
  local name=$1; shift
  echo "-- $name"
  sleep 999999 | "$@" >"/tmp/out/$name.output" 2>"/tmp/out/$name.said" &
  local left=$(({job_timeout} * 10))
  while [ $left -gt 0 ] && ! grep -q '^end$' "/tmp/out/$name.output"; do left=$((left - 1)); usleep 100000; done
  echo 0 >"/tmp/out/$name.status"
}}
{jobs}
answers
poweroff -f
"""

# From a raw namespace to one in devdax mode, by nothing but writes to sysfs.
_NAMESPACE = """\
nd=/sys/bus/nd
until [ -e $nd/devices/region0 ] && [ -e $nd/drivers/nd_pmem/namespace0.0 ]; do usleep 10000; done
echo namespace0.0 >$nd/drivers/nd_pmem/unbind
seed=$(cat $nd/devices/region0/dax_seed)
echo {align} >$nd/devices/$seed/align
echo pmem >$nd/devices/$seed/mode
echo 5f3bd8d0-6d0c-4a57-8d9d-3a2a3b1c0f52 >$nd/devices/$seed/uuid
echo namespace0.0 >$nd/devices/$seed/namespace
echo $seed >$nd/drivers/dax_pmem/bind
"""


class GuestError(Exception):
    """The machine did not answer; the text has the end of its console."""


class Job(NamedTuple):
    """A command of the guest.

    One that ``stays`` prints ``end``, and its input does not end before the machine does: for what no kernel survives.
    """

    name: str
    command: Sequence[str]
    stdin: bytes = b""
    stays: bool = False


class Answer(NamedTuple):
    """What a job said."""

    status: int
    output: str
    said: str


def boot(kernel: Kernel, topology: Topology, files: Mapping[str, bytes], jobs: Sequence[Job]) -> dict[str, Answer]:
    """Boot, with executable ``files`` by their paths, do the jobs in order, and return their answers by name.

    A machine that does not answer is given a second chance. GuestError: nor does it then.
    """
    ordered = sorted(jobs, key=lambda job: job.stays)
    with tempfile.TemporaryDirectory(prefix="daxemu-oracle-") as directory:
        work = Path(directory)
        (work / "initrd").write_bytes(initramfs(_root(kernel, topology, files, ordered)))
        try:
            return _attempt(kernel, topology, work)
        except GuestError:
            return _attempt(kernel, topology, work)


def _attempt(kernel: Kernel, topology: Topology, work: Path) -> dict[str, Answer]:
    console, answers = work / "console", work / "answers"
    answers.unlink(missing_ok=True)
    # Without KVM, which inside of other virtual machines tends to hang: a boot takes seconds either way.
    command = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-M",
        "q35",
        "-smp",
        "1",
        "-m",
        f"{topology.memory}G",
    ]
    command += ["-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"]
    command += ["-serial", f"file:{console}", "-serial", f"file:{answers}"]
    command += ["-kernel", str(kernel.image), "-initrd", str(work / "initrd")]
    command += ["-append", f"console=ttyS0 quiet oops=panic panic=-1 mitigations=off nokaslr {topology.parameters}"]
    how = "ended without an answer"
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=die_with_parent
    )
    try:
        said, _ = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        how, said = f"did not answer within {_TIMEOUT:.0f} s", b""
    finally:
        process.kill()
        process.communicate()
    try:
        with tarfile.open(answers, "r:gz") as archive:
            return _read(archive)
    except (OSError, tarfile.TarError, EOFError):
        last = console.read_text(errors="replace")[-4000:] if console.exists() else ""
        raise GuestError(
            f"Linux {kernel.release}, {topology.name}: the machine {how}.\n{said.decode(errors='replace')}{last}"
        ) from None


def _read(archive: tarfile.TarFile) -> dict[str, Answer]:
    texts: dict[str, str] = {}
    for member in archive:
        file = archive.extractfile(member)
        if file is not None:
            texts[member.name.removeprefix("./")] = file.read().decode(errors="backslashreplace")
    names = [name.removesuffix(".status") for name in texts if name.endswith(".status")]
    return {
        name: Answer(int(texts[f"{name}.status"]), texts[f"{name}.output"], texts[f"{name}.said"]) for name in names
    }


# -- the guest's files --------------------------------------------------------------------------


def _root(
    kernel: Kernel, topology: Topology, files: Mapping[str, bytes], jobs: Sequence[Job]
) -> dict[str, tuple[int, bytes]]:
    """All that the guest has: mode and contents by path."""
    modules = {name: data for name in _MODULES if (data := kernel.module(name)) is not None}
    init = _INIT.format(
        modules=" ".join(modules),
        namespace=_NAMESPACE.format(align=topology.namespace_align) if topology.namespace_align else "",
        jobs="\n".join(shlex.join(["stays" if job.stays else "run", job.name, *job.command]) for job in jobs),
        job_timeout=_JOB_TIMEOUT,
    )
    root = {f"{name}/": (0o040755, b"") for name in ("dev", "proc", "sys", "tmp", "etc")}
    root["init"] = (0o100755, init.encode())
    root["bin/busybox"] = (0o100755, Path("/bin/busybox").read_bytes())
    root |= {f"modules/{name}.ko": (0o100644, data) for name, data in modules.items()}
    root |= {f"jobs/{job.name}": (0o100644, job.stdin) for job in jobs}
    root |= {path: (0o100755, data) for path, data in files.items()}
    for path in list(root):
        for parent in Path(path).parents:
            root.setdefault(f"{parent}/", (0o040755, b""))
    return root


def initramfs(root: Mapping[str, tuple[int, bytes]]) -> bytes:
    """An initramfs: the "newc" format of cpio, uncompressed, for the guest has more time to copy than to unpack."""
    out = io.BytesIO()
    for number, (path, (mode, data)) in enumerate(sorted(root.items())):
        _cpio_entry(out, path.rstrip("/"), number + 1, mode, data)
    _cpio_entry(out, "TRAILER!!!", 0, 0, b"")
    return out.getvalue()


def _cpio_entry(out: io.BytesIO, name: str, inode: int, mode: int, data: bytes) -> None:
    fields: Iterable[int] = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    out.write(b"070701" + "".join(f"{field:08X}" for field in fields).encode() + name.encode() + b"\0")
    out.write(b"\0" * (-out.tell() % 4) + data)
    out.write(b"\0" * (-out.tell() % 4))
