"""hmem: memory that the firmware set aside (EFI "soft reserved"). Dynamic: devices come and go."""

from daxemu.kernel.providers import Provider

__all__ = ["HMEM"]

HMEM = Provider("hmem", parent="devices/platform/hmem.{id}", static=False, module="dax_hmem", kmem=True)
