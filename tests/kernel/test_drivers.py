"""Who takes which device, and what a device is once a driver has it."""

from __future__ import annotations

import errno

import pytest

from daxemu.kernel.bus import DaxBus
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.drivers import MEMORY_BLOCK_SIZE, Kmem
from daxemu.kernel.flavour import FLAVOURS
from daxemu.kernel.providers import find_provider
from daxemu.kernel.region import DaxRegion

from .fakes import BLOCK, MAP_AT, REGION_START, FakePorts, G, errno_of, fake_ports, mapped, opened, snapshot

BOTH = ("device_dax", "kmem")


def machine(flavour: str = "6.12", drivers: tuple[str, ...] = BOTH) -> DaxCore:
    core = DaxCore(FakePorts(), flavour=FLAVOURS[flavour], drivers=drivers)
    core.boot()
    return core


def add(core: DaxCore, provider: str = "hmem", *, start: int = REGION_START, size: int = G, **options) -> DaxRegion:
    return core.add_region(find_provider(provider), start=start, size=size, align=BLOCK, **options)


def first(region: DaxRegion) -> DevDax:
    return region.children[f"dax{region.id}.0"]


def bound_to(device: DevDax) -> str | None:
    return device.driver and device.driver.name


def takers(bus: DaxBus, device: DevDax) -> set[str]:
    return {driver.name for driver in bus.drivers.values() if bus.match(driver, device)}


# -- matching -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "provider", "taker"),
    [
        ("6.1", "hmem", "device_dax"),
        ("6.1", "pmem", "device_dax"),
        ("6.12", "hmem", "kmem"),
        ("6.12", "pmem", "device_dax"),
    ],
)
def test_a_device_is_taken_by_the_driver_of_its_kind(flavour: str, provider: str, taker: str):
    core = machine(flavour)
    device = first(add(core, provider, driver="none"))
    assert takers(core.bus, device) == {taker}
    core.bus.probe(device)
    assert bound_to(device) == taker


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("provider", ["hmem", "pmem"])
@pytest.mark.parametrize("name", BOTH)
def test_an_id_goes_before_the_kind(flavour: str, provider: str, name: str):
    core = machine(flavour)
    device = first(add(core, provider, driver="none"))
    by_kind = takers(core.bus, device)
    core.bus.drivers[name].ids.add("dax0.0")
    assert takers(core.bus, device) == by_kind | {name}
    core.bus.drivers[name].ids.discard("dax0.0")
    assert takers(core.bus, device) == by_kind


def test_without_kmem_soft_reserved_memory_is_nobodys_until_it_has_an_id():
    core = machine(drivers=("device_dax",))
    device = first(add(core, driver="auto"))
    assert (bound_to(device), takers(core.bus, device)) == (None, set())
    core.bus.add_id(core.bus.drivers["device_dax"], "dax0.0")
    assert bound_to(device) == "device_dax"


@pytest.mark.parametrize(("flavour", "taker"), [("6.1", "device_dax"), ("6.12", "kmem")])
def test_at_boot_soft_reserved_memory_goes_where_the_kernel_puts_it(flavour: str, taker: str):
    assert bound_to(first(add(machine(flavour), driver="auto"))) == taker


def test_without_autoprobe_nobody_takes_a_new_device():
    core = machine("6.1")
    core.bus.autoprobe = False
    assert bound_to(first(add(core, driver="auto"))) is None
    assert bound_to(core.create_seed(add(core, start=2 * REGION_START, idle=True))) is None


# -- ids ----------------------------------------------------------------------------------------


def test_an_id_binds_every_unbound_device_that_the_driver_now_takes():
    core = machine("6.1")
    one, two = add(core, driver="none"), add(core, start=2 * REGION_START, driver="none")
    taken = first(add(core, start=3 * REGION_START, driver="kmem"))
    core.bus.add_id(core.bus.drivers["device_dax"], "dax99.0")
    assert [bound_to(first(one)), bound_to(first(two)), bound_to(taken)] == ["device_dax", "device_dax", "kmem"]


def test_an_id_binds_no_device_that_it_does_not_name():
    core = machine()
    one, two = add(core, driver="none"), add(core, start=2 * REGION_START, driver="none")
    core.bus.add_id(core.bus.drivers["device_dax"], "dax1.0")
    assert [bound_to(first(one)), bound_to(first(two))] == [None, "device_dax"]


def test_a_device_that_cannot_be_bound_does_not_keep_the_others_from_it():
    core = machine("6.1")
    empty, full = add(core, idle=True), add(core, start=2 * REGION_START, driver="none")
    core.bus.add_id(core.bus.drivers["device_dax"], "dax0.0")
    assert [bound_to(first(empty)), bound_to(first(full))] == [None, "device_dax"]


def test_an_id_is_known_before_its_device_is_there():
    core = machine()
    core.bus.add_id(core.bus.drivers["device_dax"], "dax0.1")
    region = add(core, idle=True)
    device = core.create_seed(region)
    device.resize(BLOCK)
    core.bus.bind(device)
    assert device.alive


def test_a_removed_id_leaves_the_device_bound():
    core = machine()
    device = first(add(core, driver="none"))
    driver = core.bus.drivers["device_dax"]
    core.bus.add_id(driver, "dax0.0")
    driver.ids.discard("dax0.0")
    assert (bound_to(device), device.alive) == ("device_dax", True)
    core.bus.unbind(device)
    core.bus.probe(device)
    assert bound_to(device) == "kmem"


# -- binding ------------------------------------------------------------------------------------


def test_a_bound_device_is_busy_for_every_driver():
    core = machine()
    device = first(add(core, driver="kmem"))
    assert [errno_of(core.bus.bind, device, name) for name in BOTH] == [errno.EBUSY, errno.EBUSY]


def test_a_driver_that_is_not_loaded_binds_nothing():
    core = machine(drivers=("device_dax",))
    device = first(add(core, driver="none"))
    assert errno_of(core.bus.bind, device, "kmem") == errno.ENODEV


@pytest.mark.parametrize("name", BOTH)
def test_an_empty_device_is_bound_to_nobody(name: str):
    core = machine()
    device = first(add(core, idle=True))
    before = snapshot(core)
    assert errno_of(core.bus.bind, device, name) == errno.ENXIO
    assert snapshot(core) == before


def test_unloading_a_driver_unbinds_its_devices_and_no_others():
    core = machine()
    kept = first(add(core, driver="device_dax"))
    freed = first(add(core, start=2 * REGION_START, driver="kmem"))
    core.bus.unregister_driver(core.bus.drivers["kmem"])
    assert (bound_to(kept), bound_to(freed), list(core.bus.drivers)) == ("device_dax", None, ["device_dax"])


@pytest.mark.parametrize("fails", [True, False])
def test_a_seed_ends_with_its_binding_unless_that_fails(monkeypatch, fails: bool):
    core = machine()
    region = add(core, idle=True)
    device = core.create_seed(region)
    device.resize(BLOCK)
    ports = fake_ports(core)
    seeds = []

    def publish(event):
        if event.action == "bind":
            seeds.append(region.seed)
            if fails:
                raise RuntimeError

    monkeypatch.setattr(ports, "publish", publish)
    if fails:
        with pytest.raises(RuntimeError):
            core.bus.bind(device)
    else:
        core.bus.bind(device)
    assert seeds == [None], "onlookers read the seed when they hear of the binding"
    assert region.seed is (device if fails else None)


# -- kmem ---------------------------------------------------------------------------------------


def test_kmem_wants_a_numa_node():
    core = machine()
    device = first(add(core, target_node=-1, driver="none"))
    assert errno_of(core.bus.bind, device, "kmem") == errno.EINVAL
    assert bound_to(device) is None


@pytest.mark.parametrize(
    ("start", "size", "answer"),
    [
        (0, MEMORY_BLOCK_SIZE, None),
        (0, MEMORY_BLOCK_SIZE - BLOCK, errno.EINVAL),
        (BLOCK, MEMORY_BLOCK_SIZE, errno.EINVAL),
        (BLOCK, 2 * MEMORY_BLOCK_SIZE - 2 * BLOCK, errno.EINVAL),
        (BLOCK, 2 * MEMORY_BLOCK_SIZE - BLOCK, None),
        (-BLOCK, MEMORY_BLOCK_SIZE + BLOCK, None),
        (-BLOCK, MEMORY_BLOCK_SIZE, errno.EINVAL),
    ],
)
def test_kmem_takes_only_whole_memory_blocks(start: int, size: int, answer: int | None):
    core = machine()
    device = first(add(core, start=REGION_START + start, size=size, driver="none"))
    assert errno_of(core.bus.bind, device, "kmem") == answer


def test_kmem_looks_for_whole_blocks_in_each_range():
    core = machine()
    region = add(core, idle=True)
    device = core.create_device(region, 0, driver="none")
    half = MEMORY_BLOCK_SIZE // 2
    for start in (0, half):  # adjacent; but nothing joins them
        device.add_range(REGION_START + start, REGION_START + start + half - 1)
    assert errno_of(core.bus.bind, device, "kmem") == errno.EINVAL
    device.add_range(REGION_START + MEMORY_BLOCK_SIZE, REGION_START + 2 * MEMORY_BLOCK_SIZE - 1)
    assert errno_of(core.bus.bind, device, "kmem") is None


def test_a_device_that_is_memory_cannot_be_opened_revived_or_changed():
    core = machine()
    device = first(add(core, driver="kmem"))
    before = snapshot(core)
    assert errno_of(opened, device) == errno.ENXIO
    assert errno_of(device.run) == errno.ENXIO
    for size in (0, BLOCK, device.size):
        assert errno_of(device.resize, size) == errno.EBUSY
    assert errno_of(device.set_align, 4096) == errno.EBUSY
    assert errno_of(core.delete_device, device) == errno.EBUSY
    assert snapshot(core) == before


def test_a_file_opened_before_cannot_map_what_has_become_memory():
    core = machine()
    device = first(add(core))
    file, vma = opened(device), mapped(device)
    core.memory.set_auto_online("offline")
    core.bus.unbind(device)
    core.bus.bind(device, "kmem")
    assert errno_of(file.mmap, MAP_AT, BLOCK) == errno.ENXIO
    assert not device.alive
    core.bus.unbind(device)
    core.bus.bind(device)
    assert file.mmap(2 * MAP_AT, BLOCK).touch(2 * MAP_AT) == vma.touch(MAP_AT) == REGION_START


def test_unbinding_from_kmem_gives_the_device_back():
    core = machine()
    core.memory.set_auto_online("offline")
    device = first(add(core, driver="kmem"))
    assert isinstance(device.driver, Kmem)
    core.bus.unbind(device)
    assert errno_of(device.resize, BLOCK) is None
    core.bus.bind(device)
    assert mapped(device).touch(MAP_AT) == REGION_START
