"""pmem: a namespace of an NVDIMM in devdax mode. Static: one device, as large as the namespace."""

from daxemu.kernel.providers import Provider

__all__ = ["PMEM"]

PMEM = Provider(
    "pmem",
    parent="devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region{id}/dax{id}.0",
    static=True,
    module="dax_pmem",
    bus="nd",
    driver="dax_pmem",
    modalias="nd:t7",
    devtype="nd_dax",
    shows_bus=False,
    files=("devtype", "modalias", "numa_node", "uevent"),
)
