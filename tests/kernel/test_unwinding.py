"""Every step of every operation fails in turn; afterwards everything is as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from daxemu.errors import KernelError
from daxemu.kernel.core import DaxCore
from daxemu.kernel.device import DevDax
from daxemu.kernel.memory import MEMORY_BLOCK_SIZE, MemoryBlock
from daxemu.kernel.providers import find_provider
from daxemu.kernel.region import DaxRegion

from .fakes import (
    BLOCK,
    MAP_AT,
    REGION_START,
    STEPS,
    FakeBacking,
    FakePorts,
    InjectedFault,
    Injector,
    booted,
    fake_ports,
    injected,
    mapped,
    snapshot,
)


@dataclass
class World:
    """Four blocks each for dax0.1 and dax0.3, four free ones between them, and twenty behind; dax0.1 was mapped once.

    dax0.1 is unbound, dax0.3 bound and mapped.
    """

    core: DaxCore
    region: DaxRegion
    first: DevDax
    third: DevDax


def make_world() -> World:
    core = booted()
    region = core.add_region(find_provider("hmem"), start=REGION_START, size=32 * BLOCK, align=BLOCK, idle=True)
    first, second, third = (core.create_device(region, 4 * BLOCK) for _ in range(3))
    mapped(first).touch(MAP_AT)
    mapped(third).touch(MAP_AT)
    core.bus.unbind(first)
    core.bus.unbind(second)
    second.resize(0)
    core.delete_device(second)
    return World(core, region, first, third)


def fresh_core() -> World:
    world = make_world()
    world.core = DaxCore(FakePorts())
    return world


def grown() -> World:
    """dax0.1 has two ranges: eight blocks, then four behind dax0.3."""
    world = make_world()
    world.first.resize(12 * BLOCK)
    return world


def killed() -> World:
    world = make_world()
    world.third.kill()
    return world


def initialized() -> World:
    """dax0.2 has all that is its own but is nowhere to be seen yet."""
    world = make_world()
    world.first = world.core._initialize_device(world.region, 2 * BLOCK)
    return world


def with_two_memory_blocks() -> World:
    """The region holds two blocks that its device, unbound, is about to become."""
    world = make_world()
    region = world.core.add_region(
        find_provider("hmem"), start=2 * REGION_START, size=2 * MEMORY_BLOCK_SIZE, align=BLOCK, driver="none"
    )
    world.first = region.children["dax1.0"]
    return world


def become_memory(*, online: bool = False) -> World:
    world = with_two_memory_blocks()
    world.core.memory.set_auto_online("online_movable" if online else "offline")
    world.core.bus.bind(world.first, "kmem")
    return world


def first_block(world: World) -> MemoryBlock:
    return world.core.memory.blocks[2 * REGION_START // MEMORY_BLOCK_SIZE]


def add_region(world: World, provider: str, *, idle: bool = False) -> DaxRegion:
    return world.core.add_region(
        find_provider(provider), start=2 * REGION_START, size=4 * BLOCK, align=BLOCK, idle=idle
    )


@dataclass(frozen=True)
class Operation:
    prepare: Callable[[], World]
    run: Callable[[World], object]


CHANGES = {
    "boot": Operation(fresh_core, lambda world: world.core.boot()),
    "add_region hmem": Operation(make_world, lambda world: add_region(world, "hmem")),
    "add_region idle": Operation(make_world, lambda world: add_region(world, "hmem", idle=True)),
    "add_region pmem": Operation(make_world, lambda world: add_region(world, "pmem")),
    "create_device": Operation(make_world, lambda world: world.core.create_device(world.region, 8 * BLOCK)),
    "create_device unbound": Operation(
        make_world, lambda world: world.core.create_device(world.region, 8 * BLOCK, driver="none")
    ),
    "_device_add": Operation(initialized, lambda world: world.core._device_add(world.first)),
    "bind": Operation(make_world, lambda world: world.core.bus.bind(world.first)),
    "bind kmem": Operation(with_two_memory_blocks, lambda world: world.core.bus.bind(world.first, "kmem")),
    "online": Operation(become_memory, lambda world: world.core.memory.online(first_block(world))),
    "offline": Operation(
        lambda: become_memory(online=True), lambda world: world.core.memory.offline(first_block(world))
    ),
    "set_auto_online": Operation(become_memory, lambda world: world.core.memory.set_auto_online("online_kernel")),
    "run": Operation(killed, lambda world: world.third.run()),
    "grow": Operation(make_world, lambda world: world.first.resize(12 * BLOCK)),
    "shrink": Operation(grown, lambda world: world.first.resize(3 * BLOCK)),
    "shrink to nothing": Operation(grown, lambda world: world.first.resize(0)),
}

TEARDOWNS = {
    "kill": Operation(make_world, lambda world: world.third.kill()),
    "unbind": Operation(make_world, lambda world: world.core.bus.unbind(world.third)),
    "unbind kmem": Operation(become_memory, lambda world: world.core.bus.unbind(world.first)),
    "unbind kmem online": Operation(
        lambda: become_memory(online=True), lambda world: world.core.bus.unbind(world.first)
    ),
    "unregister_driver": Operation(
        make_world, lambda world: world.core.bus.unregister_driver(world.core.bus.drivers["device_dax"])
    ),
    "remove_device": Operation(make_world, lambda world: world.core.remove_device(world.third)),
    "delete_device": Operation(lambda: _with_empty_device(), lambda world: world.core.delete_device(world.first)),
    "remove_region": Operation(make_world, lambda world: world.core.remove_region(world.region)),
    "shutdown": Operation(lambda: _closed(), lambda world: world.core.shutdown()),
}


def _with_empty_device() -> World:
    world = make_world()
    world.first.resize(0)
    return world


def _closed() -> World:
    """Nothing is open any more."""
    world = make_world()
    for device in (world.first, world.third):
        for vma in list(device.inode.i_mapping.i_mmap):
            vma.file.release()
    return world


def steps_of(operation: Operation, only: str = "") -> list[str]:
    world = operation.prepare()
    with injected(Injector(only=only)) as injector:
        operation.run(world)
    return injector.taken


def every_step(operations: dict[str, Operation], only: str = "") -> list[object]:
    return [
        pytest.param(operation, number, id=f"{name}-{number}-{step}")
        for name, operation in operations.items()
        for number, step in enumerate(steps_of(operation, only))
    ]


def without_onlooker(state: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in state.items() if name != "shown"}


@pytest.mark.parametrize(("operation", "number"), every_step(CHANGES))
def test_a_change_that_fails_at_any_step_leaves_everything_as_it_was(operation: Operation, number: int):
    untroubled = operation.prepare()
    operation.run(untroubled)
    world = operation.prepare()
    before = snapshot(world.core)

    with injected(Injector(number)), pytest.raises(InjectedFault):
        operation.run(world)
    assert snapshot(world.core) == before

    operation.run(world)
    assert snapshot(world.core) == snapshot(untroubled.core)


@pytest.mark.parametrize(("operation", "number"), every_step(CHANGES, only="FakePorts.publish"))
def test_a_change_is_undone_even_if_nobody_can_be_told_any_more(operation: Operation, number: int):
    world = operation.prepare()
    before = snapshot(world.core)
    with injected(Injector(number, only="FakePorts.publish", for_good=True)), pytest.raises(InjectedFault):
        operation.run(world)
    assert without_onlooker(snapshot(world.core)) == without_onlooker(before)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize(("operation", "number"), every_step(TEARDOWNS, only="Fake"))
def test_a_teardown_is_completed_whatever_fails_on_the_way(operation: Operation, number: int, for_good: bool):
    untroubled = operation.prepare()
    operation.run(untroubled)
    world = operation.prepare()
    with injected(Injector(number, only="Fake", for_good=for_good)), pytest.raises(InjectedFault):
        operation.run(world)
    assert snapshot(world.core) == snapshot(untroubled.core)


@pytest.mark.parametrize("name", ["grow", "shrink", "shrink to nothing"])
def test_a_resize_that_fails_has_lost_no_data(name: str):
    operation = CHANGES[name]
    for number in range(len(steps_of(operation))):
        world = operation.prepare()
        backing = world.first.backing
        assert isinstance(backing, FakeBacking)
        backing.smallest = backing.size
        with injected(Injector(number)), pytest.raises(InjectedFault):
            operation.run(world)
        assert backing.smallest == backing.size == world.first.size


def test_a_failed_bind_revokes_what_was_faulted_in_meanwhile(monkeypatch: pytest.MonkeyPatch):
    world = make_world()
    (vma,) = world.first.inode.i_mapping.i_mmap
    publish = world.core.ports.publish

    def touch_then_fail(event: object) -> None:
        publish(event)
        if event.action == "bind":
            vma.touch(MAP_AT)
            raise InjectedFault

    monkeypatch.setattr(world.core.ports, "publish", touch_then_fail)
    with pytest.raises(InjectedFault):
        world.core.bus.bind(world.first)
    assert vma.pages == {}


def test_a_device_of_size_nothing_is_not_made_bound():
    world = make_world()
    before = snapshot(world.core)
    with pytest.raises(KernelError, match="ENXIO"):
        world.core.create_device(world.region, 0)
    assert snapshot(world.core) == before


def test_a_failed_create_was_seen_to_come_and_go():
    world = make_world()
    with injected(Injector(0, only="DaxBus.bind")), pytest.raises(InjectedFault):
        world.core.create_device(world.region, BLOCK)
    assert fake_ports(world.core).events[-3:] == ["add dax0.2", "remove dax0.2", "change region0"]


def test_every_step_is_taken_by_some_operation():
    taken = {step for operation in (CHANGES | TEARDOWNS).values() for step in steps_of(operation)}
    assert taken == {f"{cls.__name__}.{name}" for cls, name in STEPS}
