"""daxemu crash import: a recording that another tool has made."""

from __future__ import annotations

import sys

import click

from daxemu.pmem.pmemcheck import import_log
from daxemu.units import format_size

__all__ = ["import_"]


@click.command("import")
@click.option("-o", "--output", metavar="DIR", required=True, help="The recording: a new directory.")
@click.option("--file", metavar="FILE", help="Which of several files that were mapped, by its path or its last part.")
@click.option("--base", metavar="FILE", help="A copy of what that file held before; by default zeros.")
@click.argument("log")
def import_(log: str, output: str, file: str | None, base: str | None) -> None:
    """Make a recording of LOG, pmreorder's input, that pmemcheck wrote of what a program stored to a file.

    \b
    valgrind --tool=pmemcheck --log-stores=yes --log-file=LOG ./prog pool
    daxemu crash import LOG -o pool.daxcrash --base pool.before
    daxemu crash explore pool.daxcrash --check './verify {image}'
    """  # noqa: D301 # click wants the character
    found = import_log(log, output, file=file, base=base)
    counted = ", ".join(f"{kind} {getattr(found, kind)}" for kind in ("stores", "flushes", "fences", "markers"))
    print(f"{output}: {format_size(found.size)} of {found.file}; {counted}")
    for what, count in {"at addresses of no file": found.nowhere, "to other files": found.elsewhere}.items():
        if count:
            print(f"daxemu: stores {what} were left out: {count}", file=sys.stderr)
