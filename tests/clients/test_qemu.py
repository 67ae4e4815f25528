"""QEMU with the device as an NVDIMM's memory."""

from tests.conftest import require

OPTIONS = ("--region", "size=128M")


def qemu(memory: str) -> list[str]:
    return [
        *("qemu-system-x86_64", "-machine", "q35,nvdimm=on", "-accel", "tcg", "-m", "256M,slots=2,maxmem=1G"),
        *("-object", f"memory-backend-file,id=m1,mem-path=/dev/dax0.0,{memory}"),
        *("-device", "nvdimm,id=nv1,memdev=m1", "-S", "-display", "none", "-serial", "none", "-monitor", "stdio"),
    ]


def test_qemu_shows_the_device_as_an_nvdimm(daxemu_run):
    require("qemu-system-x86_64", "qemu-system-x86")

    result = daxemu_run(*qemu("share=on,size=128M,align=2M"), options=OPTIONS, input="info memory-devices\nquit\n")

    assert 'Memory device [nvdimm]: "nv1"' in result.stdout
    assert "size: 134217728" in result.stdout


def test_qemu_is_refused_a_private_mapping(daxemu_run):
    require("qemu-system-x86_64", "qemu-system-x86")

    result = daxemu_run(*qemu("share=off,size=128M,align=2M"), options=OPTIONS, input="quit\n", check=False)

    assert result.returncode == 1
    assert "Invalid argument" in result.stderr


def test_qemu_notices_a_size_larger_than_the_device(daxemu_run):
    require("qemu-system-x86_64", "qemu-system-x86")

    result = daxemu_run(*qemu("share=on,size=256M,align=2M"), options=OPTIONS, input="quit\n", check=False)

    assert result.returncode == 1
    assert "128" in result.stderr or "134217728" in result.stderr or "0x8000000" in result.stderr
