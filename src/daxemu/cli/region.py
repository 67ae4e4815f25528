"""daxemu region: regions of a running session come and go."""

from __future__ import annotations

import click

from daxemu.cli._options import REGION, SESSION, declared
from daxemu.control import REGION_VERBS
from daxemu.errors import UsageError
from daxemu.session.client import command as ask
from daxemu.session.listing import find_session

__all__ = ["command"]

_ADD = "add"
_VERBS = {_ADD: "a new one, described as for 'daxemu run --region'; prints its device"} | REGION_VERBS
_LIST = "\n".join(f"{verb:<11} {text}" for verb, text in _VERBS.items())
_HELP = f"""Have REGIONs, given by number, come and go in a running session, by default the one that this is called in.

\b
{_LIST}

With '{_ADD}', REGION is a description. {REGION.help.partition(". May")[0]}.
"""


@click.command(help=_HELP)
@declared(SESSION)
@click.argument("verb", type=click.Choice([*_VERBS]), metavar="VERB")
@click.argument("region", nargs=-1, required=True)
def command(session: str | None, verb: str, region: tuple[str, ...]) -> None:
    """See _HELP."""
    found = find_session(session)
    for name in region:
        if verb == _ADD:
            print(*ask(found, "add-region", spec=name), sep="\n")
        elif name.isdecimal():
            ask(found, "region", number=int(name), verb=verb)
        else:
            raise UsageError(f"region {name!r}: give its number, the X of its devices daxX.Y")
