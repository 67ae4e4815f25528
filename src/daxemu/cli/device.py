"""daxemu device: what happens to devices of a running session."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from daxemu.cli._options import SCAN, SESSION, declared
from daxemu.cli._power import POLICY, describe_loss, parse_policy
from daxemu.control import DEVICE_VERBS
from daxemu.errors import UsageError
from daxemu.pmem.points import parse_scan
from daxemu.session.client import command as ask
from daxemu.session.listing import find_session

__all__ = ["command"]

_OPTIONS_OF = {
    "bind": {"driver"},
    "inject-poison": {"offset", "length"},
    "clear-poison": {"offset", "length"},
    "list-poison": {"json"},
    "record": {"output", "scan"},
    "power-fail": {"policy"},
}
_VERBS = "\n".join(f"{verb:<14} {text}" for verb, text in DEVICE_VERBS.items())
_HELP = f"""Have something happen to DEVICEs of a running session, by default the one that this is called in.

\b
{_VERBS}

Exit status 2, and a line that says why, for what the kernel refuses.
"""


@click.command(help=_HELP)
@declared(SESSION)
@click.option("--driver", metavar="NAME", help="bind: the driver, device_dax or kmem.")
@click.option("--offset", metavar="SIZE", help="…-poison: where it begins, 4096 or 2M; by default 0.")
@click.option("--length", metavar="SIZE", help="…-poison: how much; by default a sector is broken, and all is mended.")
@click.option("--json", is_flag=True, default=None, help="list-poison: a list of objects, in bytes.")
@click.option("-o", "--output", metavar="DIR", help="record: a new directory for the recording, for 'daxemu crash'.")
@declared(SCAN, POLICY)
@click.argument("verb", type=click.Choice([*DEVICE_VERBS]), metavar="VERB")
@click.argument("device", nargs=-1, required=True)
def command(session: str | None, verb: str, device: tuple[str, ...], **options: Any) -> None:
    """See _HELP."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - _OPTIONS_OF.get(verb, set()):
        raise UsageError(f"--{name} is not for '{verb}'; leave it out")
    if "output" in given and len(device) > 1:
        raise UsageError(f"--output {given['output']} is for one recording; record each device by a command of its own")
    as_json = given.pop("json", False)
    found = find_session(session)
    arguments = _arguments(verb, given)
    parts = []
    for path in device:
        name = path.removeprefix("/dev/")
        answer = ask(found, "device", name=name, verb=verb, **arguments)
        if verb == "power-fail":
            print(f"{name}: {describe_loss(answer)}")
        elif verb == "record":
            for line in answer:
                loss = "what it makes durable until then is lost when the power fails"
                print(f"daxemu: {name}: asked to take part in the recording: {line}; {loss}", file=sys.stderr)
        elif verb == "list-poison":
            parts += [(name, *part) for part in answer]
    if verb == "list-poison":
        _print_poison(parts, as_json=as_json)


def _arguments(verb: str, given: dict[str, Any]) -> dict[str, Any]:
    """As the engine takes them."""
    match verb:
        case "inject-poison":
            return {"offset": "0"} | given
        case "power-fail":
            return {"policy": parse_policy(given.get("policy"))}
        case "record":
            directory, scan = given.get("output"), given.get("scan")
            return {
                "directory": None if directory is None else str(Path(directory).absolute()),
                "scan": None if scan is None else parse_scan(scan),
            }
    return given


def _print_poison(parts: list[tuple[str, int, int]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([dict(zip(("device", "offset", "length"), part, strict=True)) for part in parts], indent=2))
        return
    if not parts:
        print("Nothing is broken.")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("Device", "Offset", "Length", box=None)
    for part in parts:
        table.add_row(*map(str, part))
    Console().print(table)
