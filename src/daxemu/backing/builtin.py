"""The plugin that daxemu itself is: its backing stores come through the hook that everybody's do."""

from daxemu.backing.store import BackingStore
from daxemu.backing.tmpfs import TmpfsStore

__all__ = ["daxemu_register_backends"]


def daxemu_register_backends() -> list[type[BackingStore]]:
    """Return the built-in stores."""
    from daxemu.backing.file import FileStore

    return [TmpfsStore, FileStore]
