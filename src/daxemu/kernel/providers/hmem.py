"""hmem: memory that the firmware set aside (EFI "soft reserved"). Dynamic: devices come and go."""

from daxemu.kernel.providers import Provider

__all__ = ["HMEM"]

HMEM = Provider(
    "hmem",
    parent="devices/platform/hmem.{id}",
    static=False,
    module="dax_hmem",
    bus="platform",
    driver="hmem",
    modalias="platform:hmem",
    files=("driver_override", "modalias", "numa_node", "uevent"),
    parameters=("region_idle",),
    kmem=True,
)
