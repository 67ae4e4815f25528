"""The plugin manager: built-in features and installed plugins come through the same hooks."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from daxemu import __version__
from daxemu.backing import builtin
from daxemu.backing.store import BackingStore
from daxemu.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    import pluggy

__all__ = ["PluginInfo", "find_store", "list_plugins", "load_plugins", "registered_stores"]


@cache
def load_plugins() -> pluggy.PluginManager:
    """Return the manager with every installed plugin (entry point group ``daxemu``) loaded.

    Raises UsageError naming the plugin for a hook that does not exist or has a wrong signature.
    """
    import pluggy

    from daxemu import hookspecs

    hookspecs.hookimpl(builtin.daxemu_register_backends)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(builtin, name="builtin")
    try:
        manager.load_setuptools_entrypoints(hookspecs.PROJECT)
        manager.check_pending()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise UsageError(f"a plugin could not be imported: {error!r}; mend or uninstall it") from error
    except pluggy.PluginValidationError as error:
        name = manager.get_name(error.plugin) or getattr(error.plugin, "__name__", None)  # it may be unregistered again
        raise UsageError(f"plugin {name}: {' '.join(str(error).split())}") from error
    return manager


def registered_stores() -> list[type[BackingStore]]:
    """Every backing store that some plugin brings."""
    return [store for stores in load_plugins().hook.daxemu_register_backends() for store in stores]


def find_store(name: str) -> type[BackingStore]:
    """Return the store of that name. Raises UsageError if there is none, or if it does not work here.

    Looking for installed plugins takes longer than starting a program; for a store that is built
    in the built-in plugin is asked alone.
    """
    stores = {store.name: store for store in builtin.daxemu_register_backends()}
    if name not in stores:
        stores = {store.name: store for store in registered_stores()}
    if name not in stores:
        raise UsageError(f"unknown backend {name!r}; there are: {', '.join(sorted(stores))} (plugins bring more)")
    probe = stores[name].probe()
    if not probe.available:
        raise UnavailableError(f"backend {name!r} does not work here: {probe}")
    return stores[name]


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
