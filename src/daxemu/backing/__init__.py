"""Where the bytes of emulated devices live."""

from daxemu.backing.store import BackingFile, BackingStore, Probe, find_store

__all__ = ["BackingFile", "BackingStore", "Probe", "find_store"]
