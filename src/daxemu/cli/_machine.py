"""The machine that a command was asked for: an engine of its own, or a session that runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from daxemu.engine import Engine
from daxemu.errors import DaxemuError, UsageError
from daxemu.kernel.drivers import DRIVERS
from daxemu.kernel.flavour import DEFAULT_FLAVOUR
from daxemu.spec import RegionSpec
from daxemu.units import format_size

__all__ = ["Machine", "describe_devices"]


class Machine(NamedTuple):
    """What the options of a command ask for; None is what an engine has by default."""

    region: Sequence[str] = ()
    kernel: str | None = None
    drivers: str | None = None

    def make_engine(self, session: str | None = None, state: str | None = None) -> Engine:
        """Make it, with its devices and a session of that name. Raises DaxemuError if it cannot be as asked.

        What ``state`` has is there already; it is a machine of its own, so nothing may be asked for besides.
        """
        drivers = tuple(DRIVERS) if self.drivers is None else self.drivers.split(",")
        engine = Engine(kernel=self.kernel or DEFAULT_FLAVOUR.name, drivers=drivers, session=session, state=state)
        try:
            if engine.regions and any(self):
                raise UsageError(
                    f"state {state} has a machine already: leave out --region, --kernel and --drivers, "
                    "or name a new directory"
                )
            for spec in [RegionSpec.parse(text) for text in self.region or ("",)] if not engine.regions else ():
                spec.add_to(engine)
            try:
                engine.environ()
            except DaxemuError:
                raise
            except OSError as error:
                raise DaxemuError(f"no session can be made: {error}") from error
        except BaseException:
            engine.close()
            raise
        return engine

    def enter(self, session: str) -> dict[str, str]:
        """Return the variables of a running session. UsageError: there is none, or a machine was asked for as well."""
        from daxemu.session.listing import find_session
        from daxemu.session.session import session_environ

        if any(self):
            raise UsageError(
                "--session takes the devices that are there: leave out --region, --kernel and --drivers, "
                "or give them to the 'daxemu serve' that makes the session"
            )
        return session_environ(find_session(session))


def describe_devices(devices: Iterable[tuple[str, int]]) -> str:
    """Devices, given by name and size, on one line for people."""
    return ", ".join(f"/dev/{name} ({format_size(size)})" for name, size in devices) or "no device"
