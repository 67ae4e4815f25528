"""The plugin manager: built-in features and installed plugins come through the same hooks."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from daxemu import __version__
from daxemu.backing import builtin
from daxemu.backing.store import BackingStore
from daxemu.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pluggy

__all__ = [
    "PluginInfo",
    "call_hook",
    "find_store",
    "hooks",
    "list_plugins",
    "load_plugins",
    "plugin_of",
    "registered_stores",
]

DISABLED = "DAXEMU_DISABLED_PLUGINS"
TRACE = "DAXEMU_TRACE_HOOKS"


def hooks() -> pluggy.HookRelay | None:
    """Return the hooks to call, None where no plugin is but ours: then nothing is imported and nobody asked."""
    return load_plugins().hook if load_plugins.cache_info().currsize or _is_any_installed() else None


def call_hook(name: str, **arguments: object) -> None:
    """Call a hook that only tells. One that fails is reported, and hinders nobody."""
    try:
        relay = hooks()
        if relay is not None:
            getattr(relay, name)(**arguments)
    except Exception:
        import logging

        logging.getLogger("daxemu").exception("the hook %s of a plugin failed", name)


@cache
def _is_any_installed() -> bool:
    """Does any distribution have entry points for us? importlib.metadata would take longer to tell than a start."""
    return any(map(_has_plugins, sys.path))


def _has_plugins(directory: str) -> bool:
    try:
        with os.scandir(directory or ".") as entries:
            infos = [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
    except NotADirectoryError:  # an archive: let importlib look into it
        return True
    except OSError:  # sys.path may name what is not there
        return False
    for info in infos:
        with suppress(OSError):  # a distribution without any
            if b"[daxemu]" in Path(info, "entry_points.txt").read_bytes():
                return True
    return False


def _trace(manager: pluggy.PluginManager) -> None:
    """Print each call of a hook and what came of it."""

    def before(hook_name: str, _impls: object, kwargs: Mapping[str, object]) -> None:
        arguments = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
        print(f"daxemu: hook {hook_name}({arguments})", file=sys.stderr)

    def after(outcome: pluggy.Result[object], hook_name: str, _impls: object, _kwargs: object) -> None:
        result = outcome.exception or outcome.get_result()
        if result:
            print(f"daxemu: hook {hook_name} -> {result!r}", file=sys.stderr)

    manager.add_hookcall_monitoring(before, after)


@cache
def load_plugins() -> pluggy.PluginManager:
    """Return the manager with every installed plugin (entry point group ``daxemu``) loaded.

    Those named in $DAXEMU_DISABLED_PLUGINS, separated by commas, are left out; with
    $DAXEMU_TRACE_HOOKS every call of a hook is printed to stderr. Raises UsageError naming the
    plugin for a hook that does not exist or has a wrong signature, or that cannot be imported.
    """
    import pluggy

    from daxemu import hookspecs

    hookspecs.hookimpl(builtin.daxemu_register_backends)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(builtin, name="builtin")
    for disabled in os.environ.get(DISABLED, "").split(","):
        manager.set_blocked(disabled.strip())
    if os.environ.get(TRACE):
        _trace(manager)
    try:
        manager.load_setuptools_entrypoints(hookspecs.PROJECT)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = manager.get_name(error.plugin) or getattr(error.plugin, "__name__", None)  # it may be unregistered again
        raise UsageError(f"plugin {name}: {' '.join(str(error).split())}") from error
    except Exception as error:  # a module may raise anything
        name = _first_not_loaded(manager)
        remedy = f"mend or uninstall it, or set {DISABLED}={name}"
        raise UsageError(f"plugin {name} could not be imported: {error!r}; {remedy}") from error
    return manager


def _first_not_loaded(manager: pluggy.PluginManager) -> str:
    """The plugin whose import has failed: they are loaded in order."""
    from importlib import metadata

    from daxemu.hookspecs import PROJECT

    names = [entry.name for info in metadata.distributions() for entry in info.entry_points if entry.group == PROJECT]
    return next((name for name in names if not manager.has_plugin(name) and not manager.is_blocked(name)), "unknown")


def plugin_of(store: type[BackingStore]) -> object:
    """Return a plugin to register that brings one store."""
    from daxemu.hookspecs import hookimpl

    class OneStore:
        @hookimpl
        def daxemu_register_backends(self) -> list[type[BackingStore]]:
            return [store]

    return OneStore()


def registered_stores() -> list[type[BackingStore]]:
    """Every backing store that some plugin brings."""
    return [store for stores in load_plugins().hook.daxemu_register_backends() for store in stores]


def find_store(backend: str) -> BackingStore:
    """Return the store that ``name`` or ``name:where`` means.

    Raises UsageError if there is none, UnavailableError if it does not work here. Looking for
    installed plugins takes longer than starting a program; for a store that is built in the
    built-in plugin is asked alone.
    """
    name, _, where = backend.partition(":")
    stores = {store.name: store for store in builtin.daxemu_register_backends()}
    if name not in stores:
        stores = {store.name: store for store in registered_stores()}
    if name not in stores:
        raise UsageError(f"unknown backend {name!r}; there are: {', '.join(sorted(stores))} (plugins bring more)")
    probe = stores[name].probe(where)
    if not probe.available:
        raise UnavailableError(f"backend {backend!r} does not work here: {probe}")
    return stores[name](where)


class PluginInfo(NamedTuple):
    """One plugin as ``daxemu plugins`` shows it."""

    name: str
    version: str
    backends: dict[str, str]


def list_plugins() -> list[PluginInfo]:
    """Every loaded plugin, with its backends and what their probes say."""
    manager = load_plugins()
    distributions = dict(manager.list_plugin_distinfo())
    found = []
    for name, plugin in manager.list_name_plugin():
        if plugin is None:
            continue
        dist = distributions.get(plugin)
        register = getattr(plugin, "daxemu_register_backends", list)
        stores = {store.name: str(store.probe()) for store in register()}
        found.append(PluginInfo(name, dist.version if dist else __version__, stores))
    return found
