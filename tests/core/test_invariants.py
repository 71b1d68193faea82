"""`check` finds each index that does not say what the tasks say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyrotask.core.deadlines import Due, Key
from pyrotask.core.invariants import check
from pyrotask.core.machine import Machine
from pyrotask.core.model import SECOND, ConnectionId, Delivery, Options, ProcessId, TaskNumber, WantId
from pyrotask.errors import BrokerBroken
from tests.core.world import World

WAITS, RUNS, FINISHED, SCHEDULED, NEEDS = map(TaskNumber, range(5))
SLAVE, CONNECTION, WANT = ProcessId(0), ConnectionId(1), WantId(0)


def a_bit_of_everything() -> Machine:
    world = World()
    connection = world.connect()
    process = world.register(1, connection=connection)
    limit = Options(time_limit_ns=SECOND)
    assert world.lease("w") == ()
    assert [world.submit(tag, options=limit) for tag in "wrf"] == [WAITS, RUNS, FINISHED]
    world.take("r", process=process, connection=connection)
    world.succeed(world.take("f"))
    assert world.submit("s", due_at=world.now + SECOND) == SCHEDULED
    assert world.submit("n", inputs=[WAITS, FINISHED]) == NEEDS
    assert world.park("slave", "other", process=process, connection=connection) == WANT
    world.register_node(1, connection=connection)
    return world.machine


def set_task(number: TaskNumber, name: str, value: object) -> Callable[[Machine], None]:
    return lambda m: setattr(m.state.tasks[number], name, value)


def lane_size(machine: Machine) -> None:
    next(iter(machine.state.waiting)).size += 1


def leave_lane(machine: Machine) -> None:
    machine.state.waiting.remove(machine.state.tasks[WAITS])


def back_link(machine: Machine) -> None:
    machine.state.tasks[WAITS].prev = machine.state.tasks[RUNS]


def forget_head(machine: Machine) -> None:
    for view in machine.state.waiting.views():
        view._heap.clear()


def late_deadline(machine: Machine) -> None:
    machine.register(0, period_ns=5)
    machine.deadlines.set(Key(Due.PROCESS, 1), 99)


DEFECTS: dict[str, Callable[[Machine], object]] = {
    "its number": set_task(WAITS, "number", TaskNumber(99)),
    "known": lambda m: setattr(m.state, "next_task", 2),
    "detail fits": set_task(WAITS, "detail", "nonsense"),
    "delivery": set_task(WAITS, "delivery", Delivery.HANDED_OUT),
    "hopeless inputs": set_task(WAITS, "inputs", (TaskNumber(77),)),
    "task 0, waiting: dependents": set_task(WAITS, "dependents", None),
    "an empty dict of dependents": set_task(RUNS, "dependents", {}),
    "should be forgotten": set_task(FINISHED, "delivery", Delivery.ACKNOWLEDGED),
    "counts": lambda m: m.state._counts["w"].__setitem__(0, 7),
    "unstarted": lambda m: setattr(m.state, "_unstarted", 0),
    "who is in line": leave_lane,
    "key of its lane": set_task(WAITS, "tag", "other"),
    "size of": lane_size,
    "back links": back_link,
    "first of a view": forget_head,
    "a lane knows its view": lambda m: setattr(next(iter(m.state.waiting)), "views", ()),
    "tasks of process 0": lambda m: m.state.processes[SLAVE].tasks.clear(),
    "attempt of its holder": set_task(RUNS, "attempt", 9),
    "leases over connection": lambda m: m.presence.connections[CONNECTION].leases.clear(),
    "ways of tasks": lambda m: m.lease_connections.update({WAITS: m.presence.connections[CONNECTION]}),
    "connection 1 is open": lambda m: setattr(m.presence.connections[CONNECTION], "closed_with", 1),
    "processes with signs": lambda m: m.presence.processes.pop(SLAVE),
    "connections of process": lambda m: m.presence.processes[SLAVE].connections.clear(),
    "connections of node": lambda m: next(iter(m.presence.nodes.values())).connections.clear(),
    "closed while": lambda m: setattr(m.presence.processes[SLAVE], "closed_at", 5),
    "deadlines": lambda m: m.deadlines.clear(Key(Due.TASK, SCHEDULED)),
    "deadlines: found": lambda m: m.deadlines.clear(Key(Due.TIME_LIMIT, RUNS)),
    "deadlines of leases": lambda m: m.deadlines.set(Key(Due.LEASE, RUNS), 5),
    "deadlines of processes that are gone": lambda m: m.deadlines.set(Key(Due.PROCESS, 99), 5),
    "deadline of process 1": late_deadline,
    "scheduled": lambda m: m.state._scheduled.clear(),
    "deadlines of wants": lambda m: m.deadlines.set(Key(Due.WANT, 99), 5),
    "next deadline": lambda m: m.deadlines._heap.clear(),
    "parked requests of process": lambda m: m.presence.processes[SLAVE].parked.clear(),
    "parked requests over": lambda m: m.presence.connections[CONNECTION].wants.clear(),
    "parked after the end": lambda m: setattr(m.state, "terminated", True),
    "wants in a view": lambda m: setattr(next(iter(m.task_wants)).view, "in_use", 2),
}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    check(a_bit_of_everything())


@pytest.mark.parametrize("story", DEFECTS)
def test_a_defect_is_found_and_told(story: str) -> None:
    machine = a_bit_of_everything()
    DEFECTS[story](machine)

    with pytest.raises(BrokerBroken, match="found .*, expected"):
        check(machine)


def test_the_story_says_what_differs_from_what() -> None:
    machine = a_bit_of_everything()
    machine.state._unstarted = 0

    with pytest.raises(BrokerBroken, match="unstarted: found 0, expected 3"):
        check(machine)


def test_a_command_that_ended_half_way_shows() -> None:
    world = World()
    task = world.submit()
    machine = world.machine
    machine._matching.settle = None  # type: ignore[method-assign, assignment]

    with pytest.raises(TypeError):
        machine.cancel(world.now, task)
    assert machine.in_step
