"""The fixtures, used as in any test suite."""

import pytest

from daxemu import KernelError

M = 1 << 20


def facts(device):
    return device.path, device.size, device.align, device.region.provider


def test_a_device_is_64_mib_with_2_mib_alignment_on_an_nvdimm(dax_device):
    assert facts(dax_device) == ("/dev/dax0.0", 64 * M, 2 * M, "pmem")


def test_a_device_works_here_and_in_programs(dax_device):
    with dax_device.open() as file, file.mmap() as memory:
        memory[0:5] = b"hello"
        code = "import mmap, os; print(mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), 2 << 20)[:5].decode())"
        output = dax_device.run(["python3", "-c", code], check=True, capture_output=True, text=True).stdout

    assert output == "hello\n"


def test_the_device_is_the_one_of_the_region_in_the_engine(dax_device, dax_region, dax_engine):
    assert dax_engine.regions == [dax_region]
    assert dax_region.devices == [dax_device]


def test_every_test_has_an_engine_without_devices_for_itself(dax_engine):
    assert (dax_engine.regions, dax_engine.devices) == ([], [])


@pytest.mark.dax(size="8M", align="4K", provider="hmem", backend="tmpfs")
def test_a_marker_says_what_the_device_is_like(dax_device):
    assert facts(dax_device) == ("/dev/dax0.0", 8 * M, 4096, "hmem")


@pytest.mark.dax(provider="hmem")
def test_a_dynamic_region_is_empty(dax_region):
    assert dax_region.devices == []
    assert dax_region.create_device("4M").size == 4 * M


@pytest.mark.dax(size="8M", provider="hmem")
class TestMarkers:
    def test_the_marker_of_a_class_is_for_its_tests(self, dax_device):
        assert facts(dax_device)[1:] == (8 * M, 2 * M, "hmem")

    @pytest.mark.dax(size="6M")
    def test_the_nearest_marker_wins(self, dax_device):
        assert facts(dax_device)[1:] == (6 * M, 2 * M, "hmem")


@pytest.mark.dax(size=8 * M, align=4096)
def test_a_marker_takes_bytes_as_numbers(dax_device):
    assert facts(dax_device)[1:3] == (8 * M, 4096)


@pytest.mark.parametrize("size", [pytest.param("2M", marks=pytest.mark.dax(size="2M"))])
def test_a_marker_may_belong_to_a_parameter(dax_device, size):
    assert dax_device.size == 2 * M


def test_a_factory_makes_several_regions(dax_factory):
    regions = [dax_factory(size=size, provider="hmem") for size in ("4M", "8M")]

    assert [(region.id, region.size, region.provider) for region in regions] == [(0, 4 * M, "hmem"), (1, 8 * M, "hmem")]


@pytest.mark.dax(size="6M", align="4K")
def test_a_factory_takes_from_the_marker_what_it_is_not_given(dax_factory):
    region = dax_factory(size="8M")

    assert (region.size, region.align) == (8 * M, 4096)


def test_a_factory_reports_what_cannot_be_made(dax_factory):
    with pytest.raises(KernelError, match="ENOMEM"):
        dax_factory(size="900T")


def test_a_factory_does_not_take_what_it_does_not_know(dax_factory):
    with pytest.raises(TypeError, match="colour"):
        dax_factory(colour="red")
