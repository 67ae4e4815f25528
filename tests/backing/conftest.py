"""Plugins to be installed."""

import sys

import pytest

from daxemu.plugins import _is_any_installed, load_plugins

from .installed import install


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install plugins, by name and source, into this interpreter."""
    monkeypatch.syspath_prepend(tmp_path)

    def installs(**sources):
        for name, source in sources.items():
            install(tmp_path, name, "1.0", source)
        forget()

    def forget():
        load_plugins.cache_clear()
        _is_any_installed.cache_clear()

    yield installs
    forget()
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]
