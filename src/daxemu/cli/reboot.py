"""daxemu reboot: power goes and comes back for all of a running session."""

from __future__ import annotations

import click

from daxemu.cli._options import SESSION, declared
from daxemu.cli._power import POLICY, describe_loss, parse_policy
from daxemu.session.client import command as ask
from daxemu.session.listing import find_session

__all__ = ["command"]


@click.command()
@declared(SESSION, POLICY)
def command(session: str | None, policy: str | None) -> None:
    """Power goes and comes back in a running session: every device as by 'daxemu device power-fail'.

    Regions are there as at boot, and what was done to their devices is undone. A device that is recorded
    loses what was not durable; of others nobody knows, and they keep all.
    """
    lost = ask(find_session(session), "reboot", policy=parse_policy(policy))
    print(describe_loss(lost).capitalize())
