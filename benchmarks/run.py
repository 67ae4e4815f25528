"""Measure the budgets: ``python benchmarks/run.py [--quick] [--json] [NAME…]``.

Ratios are of variants that took turns within this run; ✓ and ✗ say whether the budget was kept.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib import import_module

import click
from harness import Row
from rich.console import Console
from rich.table import Table

# In the order of the table; each is a module beside this one.
NAMES = ("memory", "stores", "calls", "start", "fixture", "many", "revoke", "model", "crash", "growth", "recording")

_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}


def _number(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}"


def _budget(row: Row) -> str:
    if row.budget is None:
        return ""
    noise = f" (+{row.noise:.2f})" if row.noise else ""
    return _number(row.budget, row.unit) + noise


def _table(rows: list[Row]) -> Table:
    table = Table("Row", "What", box=None, caption_justify="left", caption="(+…): allowed for noise in the verdict.")
    for title in ("Ratio", "Budget"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Kept")
    table.add_column("umockdev", justify="right")
    table.add_column("Detail", style="dim")
    for row in rows:
        peer = "" if row.name != "calls" else "–" if row.peer is None else _number(row.peer, row.unit)
        value = _number(row.value, row.unit)
        table.add_row(row.name, row.what, value, _budget(row), _MARKS[row.kept], peer, row.detail)
    return table


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds: half a minute, and less to be trusted.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of objects.")
@click.argument("names", metavar="[NAME]…", nargs=-1, type=click.Choice(NAMES))
def main(*, quick: bool, as_json: bool, names: tuple[str, ...]) -> None:
    """Measure the budgets, or only those that are named: memory, stores, calls, start, fixture, many, revoke, model,
    crash, growth, recording.

    Exit status 1 if one is not kept.
    """
    console = Console(stderr=True)
    rows: list[Row] = []
    for name in names or NAMES:
        with console.status(f"{name}…"):
            rows += import_module(name).measure(quick=quick)
    if as_json:
        print(json.dumps([asdict(row) | {"kept": row.kept} for row in rows], indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 150).print(_table(rows))
    sys.exit(any(row.kept is False for row in rows))


if __name__ == "__main__":
    main()
