"""Images: the state as records, and back."""

from __future__ import annotations

import pytest

from pyrotask.core.invariants import check
from pyrotask.core.machine import Machine
from pyrotask.core.model import Node, Place, Process, Session, Task
from pyrotask.core.state import DurableState
from pyrotask.journal.codec import pack, unpack
from pyrotask.journal.image import FIELDS, SCALARS, records_of, state_of
from tests.core.world import World
from tests.journal.lives import life, state_after


def through_image(state: DurableState) -> DurableState:
    return state_of(unpack(pack(list(records_of(state)))))


@pytest.mark.parametrize("seed", range(20))
def test_a_state_comes_back_as_it_was(seed: int) -> None:
    state = state_after(life(seed, steps=100))
    back = through_image(state)

    assert back.image() == state.image()
    assert back.started_at == state.started_at


@pytest.mark.parametrize("seed", range(20))
def test_all_that_follows_from_the_facts_is_made_anew(seed: int) -> None:
    commands = life(seed, steps=100)
    machine = Machine(state=through_image(state_after(commands)))
    machine.start(10**18, "test")

    check(machine)


@pytest.mark.parametrize("seed", range(10))
def test_life_goes_on_as_if_there_had_been_no_image(seed: int) -> None:
    commands = life(seed, steps=100)
    events = [event for command in commands for event in command]
    half = len(events) // 2
    state = through_image(state_after(commands, half))
    for event in events[half:]:
        state.apply(event)

    assert state.image() == state_after(commands).image()


def test_what_runs_goes_back_to_its_old_place() -> None:
    world = World()
    process = world.register()
    tasks = [world.submit() for _ in range(5)]
    world.lease(process=process, count=2)
    world.give_back(tasks[0])  # it is now before what runs, and what waits
    world.lease(process=process)
    machine = Machine(state=through_image(world.machine.state))
    machine.start(world.now, "test")
    machine.unregister(world.now, process)
    in_line = sorted((task for lane in machine.state.waiting for task in lane), key=lambda task: task.order)

    assert [task.number for task in in_line] == tasks


def test_every_fact_of_the_state_is_in_the_image() -> None:
    """Whoever adds one to the core is reminded here to add it to `image`, with a default there."""
    derived = {"waiting", "finished"}
    collections = {"tasks", "processes", "nodes", "sessions", "data"}
    slots = {*Place.__slots__, *Task.__slots__}
    public = {name for name in vars(DurableState()) if not name.startswith("_")}
    links = {"lane", "next", "prev"}
    fields = {name: set(names) for name, names in FIELDS.values()}

    assert public - derived == set(SCALARS) | collections
    payload = {"_buffers", "_format"}  # it is in two pieces
    assert slots - links - payload | {"payload"} == fields["task"] - {"in_line"}
    assert set(Process.__slots__) == fields["process"]
    assert set(Node.__slots__) == fields["node"]
    assert set(Session.__slots__) - {"claims"} == fields["session"]


def test_the_names_of_the_fields_are_those_of_the_records() -> None:
    for record in records_of(state_after(life(1, steps=100))):
        assert len(record) == 1 + len(FIELDS[record[0]][1])
