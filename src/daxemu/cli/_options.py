"""Options that commands share, once: click's help is made from them, and ``daxemu run`` is parsed by them.

A start of ``daxemu run`` does without click, which would take most of its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = [
    "DRIVERS",
    "KERNEL",
    "KMSG",
    "MACHINE",
    "REGION",
    "SCAN",
    "SESSION",
    "Option",
    "declared",
    "parse_simply",
]


class Option(NamedTuple):
    """An option with a value: ``--name VALUE``; without ``metavar`` a flag. ``name`` is also the parameter's."""

    name: str
    metavar: str
    help: str
    multiple: bool = False

    def missing(self) -> Any:
        """What the parameter is where the option is not given."""
        return () if self.multiple else None if self.metavar else False


REGION = Option(
    "region",
    "KEY=VALUE,…",
    "A region with one device over all of it. Keys: size (64M), or raw (that of a namespace), align (2M; 4K, 1G), "
    "provider (pmem; hmem, cxl), persistence (of pmem: memory_controller; cpu_cache), "
    "backend (tmpfs), reserve (no; yes: take all memory at once), start (physical address), "
    "driver (device_dax; kmem, none, auto), target_node and numa_node (0). May be given several times.",
    multiple=True,
)
KERNEL = Option("kernel", "VERSION", "Kernel to behave as: 6.1 or 6.12, which is the default.")
DRIVERS = Option("drivers", "NAMES", "dax drivers that are loaded, by default device_dax,kmem.")
MACHINE = (REGION, KERNEL, DRIVERS)
KMSG = Option("kmsg", "", "Print what the emulated kernel logs to stderr.")
SESSION = Option(
    "session", "NAME|PATH", "A session that runs, by its name or the path of its directory; its devices are used."
)
SCAN = Option(
    "scan",
    "WHICH",
    "Where a recording looks for lines that programs have stored to and not flushed, as a cache may write them back at "
    "any time: before fences, flushes (and fences), markers, every N-th fence, or none, which is fastest.",
)


def declared(*options: Option) -> Callable[[Function], Function]:
    """Give a click command these options."""
    import click

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            kind: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"is_flag": True}
            function = click.option(f"--{option.name}", multiple=option.multiple, help=option.help, **kind)(function)
        return function

    return decorate


def parse_simply(arguments: Sequence[str], options: Sequence[Option]) -> tuple[dict[str, Any], list[str]] | None:
    """Return the options' values, as click would, and the command behind them.

    None for all that needs more than this: wrong or unknown options, a call for help, no command. click explains it.
    """
    values: dict[str, Any] = {option.name: option.missing() for option in options}
    known = {f"--{option.name}": option for option in options}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name == "--" and not equals:
            break
        option = known.get(name)
        if option is not None and not option.metavar and not equals:
            values[option.name] = True
            continue
        if option is None or not option.metavar or not (equals or rest):
            return None
        value = value if equals else rest.pop(0)
        values[option.name] = (*values[option.name], value) if option.multiple else value
    return (values, rest) if rest else None
