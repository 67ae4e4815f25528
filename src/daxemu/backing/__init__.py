"""Where the bytes of emulated devices live."""

from daxemu.backing.store import BackingFile, BackingStore, Probe

__all__ = ["BackingFile", "BackingStore", "Probe"]
