"""A recording's directory, and what its meta.json says: written here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daxemu.errors import DaxemuError, UsageError
from daxemu.pmem import format as fmt

__all__ = ["describe", "make_directory", "writing"]


def make_directory(path: Path) -> None:
    """Make the directory of a recording. UsageError: it is there already, or cannot be."""
    try:
        path.mkdir()
    except FileExistsError:
        raise UsageError(f"{path} exists; name a new directory for the recording") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: {why}; the recording is a new directory in one that is there") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """That the disk of a recording's directory is full, and the like, is a UsageError that names the directory."""
    try:
        yield
    except DaxemuError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def describe(
    directory: Path,
    *,
    device: str,
    size: int,
    align: int,
    domain: str,
    sources: Iterable[str],
    command: Iterable[str] = (),
    status: int | None = None,
    modules: Iterable[dict[str, Any]] = (),
    sites: Iterable[str] = (),
    cut_short: str = "",
) -> None:
    """Write meta.json, at once: without it there is no recording.

    ``modules`` says where code lay, so that call sites get names. Where they have names already, a site is its
    place in ``sites``, from 1. ``cut_short`` is why the end is missing, if it is.
    """
    description = {
        "version": fmt.LOG_VERSION,
        "device": device,
        "size": size,
        "align": align,
        "domain": domain,
        "command": [*command],
        "status": status,
        "sources": [*sources],
        "modules": [*modules],
        "sites": [*sites],
        "cut_short": cut_short,
    }
    unnamed = directory / "meta.json.new"
    unnamed.write_text(json.dumps(description, indent=1) + "\n")
    unnamed.rename(directory / "meta.json")
