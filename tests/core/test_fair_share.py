"""How many tasks one process is given at once, and what a supervisor gives back."""

from __future__ import annotations

import pytest

from pyrotask.core.lanes import MAX_COUNTED
from pyrotask.core.model import Kind, State
from tests.core.world import VALUE, World


def world_of(*, waiting: int, processes: int, tags: int = 1) -> World:
    world = World()
    for number in range(waiting):
        world.machine.submit(world.now, f"tag{number % tags}", VALUE)
    for _ in range(processes):
        world.register()
    return world


@pytest.mark.parametrize(
    ("waiting", "processes", "asked", "given"),
    [
        (10, 10, 64, 1),
        (11, 10, 64, 2),
        (3, 10, 64, 1),
        (0, 10, 64, 1),
        (1000, 2, 64, 64),
        (100, 2, 64, 50),
        (100, 0, 64, 64),
        (100, 2, 1, 1),
        (100, 2, 0, 0),
    ],
)
def test_a_process_is_given_its_part_of_what_waits(
    waiting: int, processes: int, asked: int, given: int
) -> None:
    world = world_of(waiting=waiting, processes=processes)
    assert world.machine.fair_share(None, asked) == given


def test_only_tasks_that_the_process_can_run_are_shared() -> None:
    world = world_of(waiting=100, processes=2, tags=10)
    assert world.machine.fair_share(frozenset({"tag3", "tag4", "unknown"}), 64) == 10


def test_who_can_run_very_many_tags_is_given_all_that_was_asked_for() -> None:
    number = MAX_COUNTED + 100
    world = world_of(waiting=number, processes=10, tags=number)
    assert world.machine.fair_share(frozenset(f"tag{k}" for k in range(number)), 64) == 64


def test_all_that_waits_is_counted_for_who_can_run_any_tag() -> None:
    world = world_of(waiting=MAX_COUNTED + 100, processes=100, tags=MAX_COUNTED + 100)
    assert world.machine.fair_share(None, 64) == 4


def test_what_a_supervisor_gives_back_is_first_in_line_in_its_old_order() -> None:
    world = World()
    connection = world.connect()
    node = world.register_node(connection=connection)
    child = world.register(kind=Kind.WORKER, node=node)
    first, second, third, fourth = [world.submit() for _ in range(4)]
    world.lease(process=child, count=3)

    world.do(world.machine.give_back_unbegun(world.now, node, {third: 1, second: 1}, connection))

    assert world.waiting() == [second, third, fourth]
    assert world.state(first) is State.RUNNING


def test_a_supervisor_gives_back_nothing_that_is_not_its_childrens() -> None:
    world = World()
    node = world.register_node(connection=world.connect())
    child = world.register(kind=Kind.WORKER, node=node)
    theirs, anonymous, others = [world.submit() for _ in range(3)]
    world.lease(process=child)
    world.lease(connection=world.connect())
    world.lease(process=world.register())

    world.do(world.machine.give_back_unbegun(world.now, node, {theirs: 2, anonymous: 1, others: 1}))

    assert world.waiting() == []
