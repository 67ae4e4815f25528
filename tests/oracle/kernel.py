"""Stock Debian kernels, downloaded once."""

from __future__ import annotations

import fcntl
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["KERNELS", "Kernel", "KernelMissingError", "debian_kernel"]

KERNELS = ("6.1", "6.12")

# Both versions at once are in the oldest release that has them; asked only where the machine's own sources lack one.
_ARCHIVE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org"
_SOURCES = f"{_ARCHIVE}/debian bookworm main\n{_ARCHIVE}/debian-security bookworm-security main\n"
_APT_DIRECTORIES = ("state/lists/partial", "cache/archives/partial")


class KernelMissingError(Exception):
    """There is no kernel to boot; the text says what was tried."""


class Kernel(NamedTuple):
    """An unpacked kernel package."""

    version: str
    directory: Path

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return next(self.directory.glob("boot/vmlinuz-*"))

    @property
    def release(self) -> str:
        """What ``uname -r`` says."""
        return self.image.name.removeprefix("vmlinuz-")

    def module(self, name: str) -> bytes | None:
        """A module, ready to be inserted; None where this kernel has it built in, or has no such module."""
        for path in self.directory.glob(f"lib/modules/*/kernel/**/{name}.ko*"):
            data = path.read_bytes()
            return lzma.decompress(data) if path.suffix == ".xz" else data
        return None


def cache_directory() -> Path:
    """Where kernels are kept: DAXEMU_ORACLE_CACHE, else below the user's cache directory."""
    own = os.environ.get("DAXEMU_ORACLE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "daxemu-oracle"


def debian_kernel(version: str) -> Kernel:
    """Return the newest Debian kernel of a version, from the cache or by apt. KernelMissingError: neither."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"linux-{version}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _download(version, cache, target)
    return Kernel(version, target)


def _download(version: str, cache: Path, target: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=cache, prefix="download-"))
    try:
        options: tuple[str, ...] = ()
        package = _newest(version, options)
        if package is None:
            options = _private_apt(work)
            package = _newest(version, options)
        if package is None:
            raise KernelMissingError(f"apt knows no kernel {version}, neither here nor at deb.debian.org")
        _run("apt-get", *options, "download", "-qq", package, cwd=work)
        (archive,) = work.glob("*.deb")
        _run("dpkg", "--extract", str(archive), str(work / "root"))
        (work / "root").rename(target)
    finally:
        shutil.rmtree(work)


def _newest(version: str, options: tuple[str, ...]) -> str | None:
    """The package with the highest version. The unsigned one, for it is the one that has files."""
    pattern = rf"^linux-image-{re.escape(version)}\.[^-]*(-[0-9]+)?-amd64-unsigned$"
    names = [line.split()[0] for line in _run("apt-cache", *options, "search", "--names-only", pattern).splitlines()]
    return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)], default=None)


def _private_apt(work: Path) -> tuple[str, ...]:
    """Options by which apt has our sources and no others, and leaves the machine's own lists alone."""
    for name in _APT_DIRECTORIES:
        (work / "apt" / name).mkdir(parents=True)
    sources = work / "apt" / "sources.list"
    sources.write_text(_SOURCES)
    settings = {
        "Dir::State": work / "apt/state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": work / "apt/cache",
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Architecture": "amd64",
    }
    options = tuple(text for name, value in settings.items() for text in ("-o", f"{name}={value}"))
    _run("apt-get", *options, "update", "-qq")
    return options


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelMissingError(f"{command[0]}: {error}") from error
    if result.returncode:
        raise KernelMissingError(f"{' '.join(command)}: status {result.returncode}\n{result.stderr}")
    return result.stdout
