"""daxemu fault: what is to fail in a running session."""

from __future__ import annotations

import json

import click

from daxemu.cli._options import SESSION, declared
from daxemu.session.client import command as ask
from daxemu.session.listing import find_session

__all__ = ["command"]


@click.group()
def command() -> None:
    """Have attributes, opens and revocations fail, or take long, in a running session."""


@command.command()
@declared(SESSION)
@click.option("--errno", metavar="NAME", default="0", help="The answer, such as ENOSPC or EIO; nothing else is done.")
@click.option("--delay", type=float, default=0.0, metavar="SECONDS", help="How long it takes.")
@click.option("--after", type=int, default=0, metavar="N", help="The first N go well.")
@click.option("--times", type=int, metavar="N", help="Then N are met; by default all.")
@click.argument("point", type=click.Choice(["store", "open", "zap"]), metavar="POINT")
@click.argument("path", default="*")
def add(session: str | None, errno: str, delay: float, after: int, times: int | None, point: str, path: str) -> None:
    """Add a fault at POINT and print its number.

    \b
    store  writes of the attributes that PATH matches
    open   opens of the devices that PATH matches
    zap    revocations of the mappings of these devices; they can only be late

    PATH is a pattern with * and ?, by default for all: '*/dax0.0/size', /dev/dax0.0; without a slash for the
    last name alone: size, 'dax0.*'.
    """  # noqa: D301 # click wants the character
    fault = ask(
        find_session(session),
        "add-fault",
        point=point,
        path=path,
        errno=errno,
        delay=delay,
        after=after,
        times=times,
    )
    print(fault["id"])


@command.command("list")
@declared(SESSION)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of objects.")
def list_faults(session: str | None, as_json: bool) -> None:
    """List the faults, and how often each has struck."""
    faults = ask(find_session(session), "list-faults")
    if as_json:
        print(json.dumps(faults, indent=2))
        return
    if not faults:
        print("There are no faults.")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("Fault", "Point", "Path", "What", "Hits", box=None)
    for fault in faults:
        table.add_row(str(fault["id"]), fault["point"], escape(fault["path"]), fault["what"], str(fault["hits"]))
    Console().print(table)


@command.command()
@declared(SESSION)
@click.argument("fault", nargs=-1, required=True, type=int)
def remove(session: str | None, fault: tuple[int, ...]) -> None:
    """Remove FAULTs, given by number."""
    found = find_session(session)
    for number in fault:
        ask(found, "remove-fault", number=number)


@command.command()
@declared(SESSION)
def clear(session: str | None) -> None:
    """Remove all faults."""
    ask(find_session(session), "remove-fault")
