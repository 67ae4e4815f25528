"""cxl: a region of memory that expanders on the CXL bus have together. Dynamic: devices come and go."""

from daxemu.kernel.providers import Provider

__all__ = ["CXL"]

CXL = Provider(
    "cxl",
    parent="devices/platform/cxl_acpi.0/root0/decoder0.0/region{id}/dax_region{id}",
    static=False,
    module="dax_cxl",
    bus="cxl",
    driver="cxl_dax_region",
    modalias="cxl:t8",
    devtype="cxl_dax_region",
    files=("devtype", "modalias", "uevent"),
    kmem=True,
    memmap_on_memory=True,
    quirk="cxl_regions",
)
