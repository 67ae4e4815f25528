"""daxemu doctor: can it work here, and for this program?"""

from __future__ import annotations

import sys

import click

from daxemu.cli._options import SESSION, declared
from daxemu.launch.doctor import check_host, check_program, check_session

__all__ = ["command"]

_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: " "}


@click.command()
@declared(SESSION._replace(help="Look at this running session too, given by its name or its directory."))
@click.argument("program", required=False)
def command(program: str | None, session: str | None) -> None:
    """Tell what this machine can do, and how a --session does; with PROGRAM, whether and how daxemu reaches it.

    Exit status 1 if something does not work, or PROGRAM is out of reach.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    findings = check_session(session) if session else []
    findings += check_program(program)[1] if program else check_host()
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(_MARKS[finding.good], finding.what, escape(finding.value))
    Console().print(table)
    sys.exit(any(finding.good is False for finding in findings))
