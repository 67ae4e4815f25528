from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from daxemu.kernel.bus import DAX_BUS_NAME
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.drivers import Driver
from daxemu.kernel.ids import Devt
from daxemu.kernel.ports import Event
from daxemu.kernel.region import DaxRegion

from .fakes import BLOCK, REGION_START, FakePorts, G, M, Mapper, errno_of, fake_ports, mapped, opened, snapshot

AddRegion = Callable[..., DaxRegion]


# -- boot and shutdown --------------------------------------------------------------------------


def test_boot_mounts_the_file_system_registers_the_numbers_and_the_driver():
    core = DaxCore(FakePorts(), major=250)
    core.boot()
    assert core.bus.name == DAX_BUS_NAME
    assert list(core.bus.drivers) == ["device_dax", "kmem"]
    assert core.chrdevs._regions == {250: ("dax", 1 << 20)}
    assert core.super_block.iget(Devt(250, 0))


def test_a_second_boot_is_refused_and_harms_nothing(core: DaxCore, device: DevDax):
    before = snapshot(core)
    assert errno_of(core.boot) == errno.EBUSY
    assert snapshot(core) == before
    assert mapped(device).touch(1 << 44)


def test_shutdown_takes_everything_down(core: DaxCore, add_region: AddRegion):
    empty = snapshot(DaxCore(FakePorts()))
    add_region("pmem", idle=False)
    add_region(idle=False)
    core.create_device(add_region(), BLOCK)
    core.shutdown()
    assert snapshot(core) == empty


def test_a_core_boots_again_after_shutdown(core: DaxCore, add_region: AddRegion):
    core.shutdown()
    core.shutdown()
    core.boot()
    assert add_region(idle=False).children["dax0.0"].alive


# -- regions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["hmem", "pmem"])
def test_a_region_comes_with_a_device_of_full_size_bound_and_alive(
    core: DaxCore, add_region: AddRegion, ports: FakePorts, provider: str
):
    region = add_region(provider, idle=False)
    device = region.children["dax0.0"]
    assert (device.id, device.size, device.alive, device.driver.name) == (0, region.size, True, "device_dax")
    assert region.available_size() == 0
    assert ports.events == ["add region0", "add dax0.0", "revive dax0.0", "bind dax0.0"]


def test_an_idle_region_comes_with_an_empty_unbound_device(add_region: AddRegion):
    device = add_region().children["dax0.0"]
    assert (device.size, device.alive, device.driver) == (0, False, None)
    assert device.region.available_size() == device.region.size


def test_a_static_region_is_never_idle(add_region: AddRegion):
    assert errno_of(add_region, "pmem", idle=True) == errno.EINVAL


def test_a_static_region_has_one_device(core: DaxCore, add_region: AddRegion):
    region = add_region("pmem", idle=False)
    assert errno_of(core.create_device, region, 0) == errno.EINVAL


def test_a_static_region_may_be_as_small_as_its_alignment(core: DaxCore, add_region: AddRegion):
    region = core.add_region(add_region("pmem", idle=False).provider, start=REGION_START, size=12288, align=4096)
    assert region.children["dax1.0"].size == 12288


def test_region_ids_are_the_lowest_free_ones(core: DaxCore, add_region: AddRegion):
    regions = [add_region() for _ in range(3)]
    core.remove_region(regions[1])
    assert add_region().id == 1
    assert sorted(core.regions) == [0, 1, 2]


def test_removing_a_region_removes_its_devices(core: DaxCore, region: DaxRegion, device: DevDax, ports: FakePorts):
    ports.events.clear()
    core.remove_region(region)
    assert ports.events == [
        *("kill dax0.1", "unbind dax0.1", "remove dax0.1", "change region0"),
        *("remove dax0.0", "change region0"),
        "remove region0",
    ]
    assert core.bus.devices == {}
    assert core.regions == {}
    assert ports.backings == []
    assert region.kref == 0
    assert ports.shown == {}


def test_a_removed_region_is_removed_once(core: DaxCore, region: DaxRegion):
    core.remove_region(region)
    assert errno_of(core.remove_region, region) == errno.ENODEV
    assert errno_of(core.create_device, region, BLOCK) == errno.ENXIO
    assert core.bus.devices == {}


def test_a_region_outlives_its_removal_while_a_device_is_open(core: DaxCore, region: DaxRegion, device: DevDax):
    file = opened(device)
    core.remove_region(region)
    assert region.kref == 1
    file.release()
    assert region.kref == 0


# -- create, delete, remove ---------------------------------------------------------------------


def test_a_created_device_has_an_id_a_number_an_inode_a_range_and_memory(core: DaxCore, device: DevDax):
    assert (device.name, device.id, device.devt) == ("dax0.1", 1, Devt(252, 1))
    assert core.super_block.iget(device.devt) is device.inode
    assert [(r.owner, r.start, r.size, r.mapping_id) for r in device.ranges] == [("dax0.1", REGION_START, 2 * BLOCK, 0)]
    assert device.backing.size == device.size == 2 * BLOCK
    assert device.region.children["dax0.1"] is core.bus.devices["dax0.1"] is device


@pytest.mark.parametrize("size", [1, 4096, BLOCK + 4096, -BLOCK])
def test_a_size_that_is_no_multiple_of_two_mebibytes_is_refused(core: DaxCore, region: DaxRegion, size: int):
    assert errno_of(core.create_device, region, size) == errno.EINVAL


def test_sizes_are_multiples_of_two_mebibytes_even_where_pages_are_small(core: DaxCore, add_region: AddRegion):
    region = add_region(align=4096)
    assert errno_of(core.create_device, region, 4096) == errno.EINVAL
    assert core.create_device(region, BLOCK).align == 4096


def test_a_device_larger_than_what_is_left_is_refused(core: DaxCore, region: DaxRegion, device: DevDax):
    assert errno_of(core.create_device, region, 15 * BLOCK) == errno.ENOSPC
    assert core.create_device(region, 14 * BLOCK).size == 14 * BLOCK


def test_minors_are_shared_by_all_regions_and_not_tied_to_names(core: DaxCore, add_region: AddRegion):
    first, second = add_region(), add_region()
    devices = [core.create_device(region, BLOCK) for region in (first, second, first)]
    assert [device.name for device in devices] == ["dax0.1", "dax1.1", "dax0.2"]
    assert [device.devt.minor for device in devices] == [2, 3, 4]


def test_removing_a_device_gives_everything_back(core: DaxCore, region: DaxRegion):
    before = snapshot(core)
    core.remove_device(core.create_device(region, 3 * BLOCK))
    assert snapshot(core) == before


def test_a_removed_device_is_removed_once(core: DaxCore, device: DevDax):
    core.remove_device(device)
    after = snapshot(core)
    assert errno_of(core.remove_device, device) == errno.ENODEV
    assert errno_of(core.delete_device, device) == errno.ENXIO
    assert errno_of(device.resize, BLOCK) == errno.ENODEV
    assert errno_of(core.bus.bind, device) == errno.ENXIO
    assert errno_of(device.run) == errno.ENXIO
    assert snapshot(core) == after


def test_an_open_device_keeps_inode_minor_and_memory_until_the_last_close(
    core: DaxCore, device: DevDax, ports: FakePorts
):
    file = opened(device)
    core.remove_device(device)
    assert device.inode in core.super_block.inodes()
    assert device.devt.minor in core.minor_ida
    assert len(ports.backings) == 2
    assert device.region.available_size() == device.region.size
    file.release()
    assert device.inode not in core.super_block.inodes()
    assert device.devt.minor not in core.minor_ida
    assert len(ports.backings) == 1


def test_a_device_reference_is_not_dropped_twice(core: DaxCore, device: DevDax):
    core.remove_device(device)
    with pytest.raises(AssertionError, match="dropped twice"):
        device.put()


def test_delete_refuses_a_bound_device_then_one_that_has_a_size(core: DaxCore, device: DevDax):
    assert errno_of(core.delete_device, device) == errno.EBUSY
    core.bus.unbind(device)
    assert errno_of(core.delete_device, device) == errno.EBUSY
    device.resize(0)
    core.delete_device(device)
    assert "dax0.1" not in core.bus.devices


def test_the_first_device_of_a_region_is_immortal(core: DaxCore, region: DaxRegion):
    assert errno_of(core.delete_device, region.children["dax0.0"]) == errno.EBUSY


def test_delete_frees_the_id_at_once_even_while_the_device_is_open(core: DaxCore, device: DevDax):
    file = opened(device)
    core.bus.unbind(device)
    device.resize(0)
    core.delete_device(device)
    again = core.create_device(device.region, BLOCK)
    assert again.name == "dax0.1"
    assert again.devt != device.devt
    file.release()
    assert sorted(device.region.children) == ["dax0.0", "dax0.1"]
    assert again.alive


# -- bind, unbind, kill, run --------------------------------------------------------------------


def test_unbind_kills_and_rebind_revives(core: DaxCore, device: DevDax, ports: FakePorts):
    ports.events.clear()
    core.bus.unbind(device)
    assert (device.alive, device.driver) == (False, None)
    core.bus.bind(device)
    assert (device.alive, device.driver.name) == (True, "device_dax")
    assert ports.events == ["kill dax0.1", "unbind dax0.1", "revive dax0.1", "bind dax0.1"]


def test_bind_refuses_what_the_kernel_refuses(core: DaxCore, region: DaxRegion, device: DevDax):
    assert errno_of(core.bus.bind, device) == errno.EBUSY
    assert errno_of(core.bus.bind, device, "nvdimm") == errno.ENODEV
    assert errno_of(core.bus.bind, region.children["dax0.0"]) == errno.ENXIO


def test_unbind_of_an_unbound_device_is_refused(core: DaxCore, region: DaxRegion):
    assert errno_of(core.bus.unbind, region.children["dax0.0"]) == errno.ENODEV


def test_a_static_device_of_several_ranges_is_not_bound(core: DaxCore, add_region: AddRegion):
    device = add_region("pmem", idle=False).children["dax0.0"]
    core.bus.unbind(device)
    device.ranges.append(device.ranges[0])
    assert errno_of(core.bus.bind, device) == errno.EINVAL
    assert (device.driver, device.alive) == (None, False)


def test_a_driver_that_leaves_lets_all_its_devices_go(core: DaxCore, region: DaxRegion, device: DevDax):
    other = core.create_device(region, BLOCK)
    core.bus.unregister_driver(core.bus.drivers["device_dax"])
    assert (device.driver, other.driver) == (None, None)
    assert errno_of(core.bus.bind, device) == errno.ENODEV


def test_a_driver_says_what_it_does_on_its_own(core: DaxCore, device: DevDax):
    for duty in (Driver(core.bus).probe, Driver(core.bus).remove):
        with pytest.raises(NotImplementedError):
            duty(device)


def test_kill_leaves_the_driver_and_run_revives(device: DevDax, ports: FakePorts):
    device.kill()
    assert (device.alive, device.driver.name) == (False, "device_dax")
    device.run()
    assert device.alive
    assert ports.shown["dax0.1"] == (2 * BLOCK, True, "device_dax")


def test_an_unbound_device_does_not_run(core: DaxCore, device: DevDax):
    core.bus.unbind(device)
    assert errno_of(device.run) == errno.ENXIO
    assert not device.alive


def test_a_running_device_is_not_revived_again(device: DevDax, ports: FakePorts):
    events = list(ports.events)
    device.run()
    assert ports.events == events


def test_a_device_is_dead_before_it_is_unmapped(device: DevDax):
    seen: list[bool] = []
    device.inode.i_mapping.i_mmap.append(Mapper(lambda *_: seen.append(device.alive)))
    device.kill()
    assert seen == [False]


# -- resize -------------------------------------------------------------------------------------


def test_resize_checks_alignment_then_driver_then_space(core: DaxCore, device: DevDax):
    assert errno_of(device.resize, BLOCK + 4096) == errno.EINVAL
    assert errno_of(device.resize, -BLOCK) == errno.EINVAL
    assert errno_of(device.resize, 100 * BLOCK) == errno.EBUSY
    assert errno_of(device.resize, device.size) == errno.EBUSY
    core.bus.unbind(device)
    assert errno_of(device.resize, 100 * BLOCK) == errno.ENOSPC
    assert errno_of(device.resize, device.size) is None


def test_resize_changes_size_memory_and_what_is_left(core: DaxCore, device: DevDax, ports: FakePorts):
    core.bus.unbind(device)
    for blocks in (5, 16, 1):
        device.resize(blocks * BLOCK)
        assert device.size == device.backing.size == blocks * BLOCK
        assert device.region.available_size() == (16 - blocks) * BLOCK
        assert ports.events[-1] == "resize dax0.1"
        assert ports.shown["dax0.1"] == (blocks * BLOCK, False, None)


def test_a_resize_to_the_same_size_is_no_event(core: DaxCore, device: DevDax, ports: FakePorts):
    core.bus.unbind(device)
    events = list(ports.events)
    device.resize(device.size)
    assert ports.events == events


def test_a_shrink_revokes_what_it_cuts_off_from_every_mapper(core: DaxCore, device: DevDax):
    cut: list[tuple[int, int]] = []
    core.bus.unbind(device)
    device.inode.i_mapping.i_mmap.append(Mapper(lambda first, _: cut.append((first, device.backing.size))))
    device.resize(BLOCK)
    assert cut == [(BLOCK, 2 * BLOCK)]


def test_a_device_of_small_pages_resizes_in_units_of_two_mebibytes(core: DaxCore, add_region: AddRegion):
    device = core.create_device(add_region(align=4096), BLOCK, driver="none")
    assert errno_of(device.resize, BLOCK + 4096) == errno.EINVAL
    device.resize(2 * BLOCK)
    assert device.size == 2 * BLOCK


def test_a_device_resizes_in_units_of_its_own_alignment(core: DaxCore, add_region: AddRegion):
    device = core.create_device(add_region(blocks=1024), 0, driver="none")
    device.align = G
    assert errno_of(device.resize, BLOCK) == errno.EINVAL
    device.resize(G)
    assert device.size == G


def test_resize_shows_the_new_size_before_memory_is_cut(core: DaxCore, device: DevDax, monkeypatch: pytest.MonkeyPatch):
    core.bus.unbind(device)
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(core.ports, "publish", lambda _: sizes.append((device.size, device.backing.size)))
    device.resize(BLOCK)
    assert sizes == [(BLOCK, 2 * BLOCK)]


@pytest.mark.parametrize(("align", "refused"), [(4096, None), (2 * M, None), (G, errno.EINVAL), (8192, errno.EINVAL)])
def test_an_alignment_must_suit_the_cpu_and_every_range(device: DevDax, align: int, refused: int | None):
    device.core.bus.unbind(device)
    before = device.align
    assert errno_of(device.set_align, align) == refused
    assert device.align == (before if refused else align)


def test_the_alignment_of_a_bound_device_stays(device: DevDax):
    assert errno_of(device.set_align, 4096) == errno.EBUSY
    assert errno_of(device.set_align, 8192) == errno.EINVAL


def test_events_name_their_subject(device: DevDax):
    assert Event("kill", device).subject is device
    assert repr(device) == f"<DevDax dax0.1 {2 * BLOCK} bytes alive>"
    assert fake_ports(device.core).events[0] == "add region0"
