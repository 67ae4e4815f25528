"""daxemu device: what happens to devices of a running session."""

from __future__ import annotations

import click

from daxemu.cli._options import SESSION, declared
from daxemu.control import DEVICE_VERBS
from daxemu.session.client import command as ask
from daxemu.session.listing import find_session

__all__ = ["command"]

_VERBS = "\n".join(f"{verb:<11} {text}" for verb, text in DEVICE_VERBS.items())
_HELP = f"""Have something happen to DEVICEs of a running session, by default the one that this is called in.

\b
{_VERBS}

Exit status 2, and a line that says why, for what the kernel refuses.
"""


@click.command(help=_HELP)
@declared(SESSION)
@click.option("--driver", metavar="NAME", default="device_dax", help="The driver for 'bind': device_dax or kmem.")
@click.argument("verb", type=click.Choice([*DEVICE_VERBS]), metavar="VERB")
@click.argument("device", nargs=-1, required=True)
def command(session: str | None, driver: str, verb: str, device: tuple[str, ...]) -> None:
    """See _HELP."""
    found = find_session(session)
    more = {"driver": driver} if verb == "bind" else {}
    for name in device:
        ask(found, "device", name=name, verb=verb, **more)
