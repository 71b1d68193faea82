"""Nothing in the core costs more because there is more of everything else.

Costs are counted in lines of Python, so that no clock and no machine has a say. A dictionary or a
heap that has grown costs a line as before; a loop over what does not matter shows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from pyrotask.core.explain import explain
from pyrotask.core.machine import Machine
from pyrotask.core.model import SECOND, Kind, Limits, ProcessId
from tests.core.world import VALUE

FEW, MANY = 10, 2_000


def lines(call: Callable[[], Any]) -> int:
    """How many lines of Python that takes."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def machine_with(**options: Any) -> Machine:
    machine = Machine(Limits(**options))
    machine.start(0, "test")
    return machine


def live(machine: Machine, tag: str, worker: ProcessId, *, by_tag: bool) -> None:
    """One task's whole life."""
    tags = frozenset({tag}) if by_tag else None
    machine.submit(1, tag, VALUE)
    leases: Any = machine.lease(1, tags=tags, process=worker).reply
    (lease,) = leases
    machine.succeed(1, lease.task, VALUE, attempt=lease.attempt)
    assert machine.collect(1, tag=lease.tag if by_tag else None).reply


def cost_of_a_life(waiting: int, tags: int, *, by_tag: bool) -> int:
    """Lines a life, on average over some for each tag."""
    machine = machine_with()
    worker = ProcessId(machine.register(0).reply)  # type: ignore[arg-type]
    for number in range(waiting):
        machine.submit(0, f"tag{number % tags}", VALUE)
    rounds = [f"tag{number % tags}" for number in range(max(2 * tags, 200))]
    for tag in rounds:  # what is made once is made
        live(machine, tag, worker, by_tag=by_tag)

    def live_all() -> None:
        for tag in rounds:
            live(machine, tag, worker, by_tag=by_tag)

    return lines(live_all) // len(rounds)


@pytest.mark.parametrize("by_tag", [False, True])
def test_a_life_costs_the_same_however_many_wait_with_however_many_tags(by_tag: bool) -> None:
    alone = cost_of_a_life(FEW, 1, by_tag=by_tag)
    crowded = cost_of_a_life(MANY, 500, by_tag=by_tag)

    assert crowded <= 1.1 * alone


def cost_of_ending_a_session(others: int) -> int:
    machine = machine_with()
    mine, other = (machine.sessions.open(0, name).reply for name in ("mine", "other"))
    for number in range(others):
        machine.submit(0, "a", VALUE, session=other, key=f"key {number}" if number % 2 else None)  # type: ignore[arg-type]
        machine.sessions.open(0, f"session {number}")
    machine.submit(0, "a", VALUE, session=mine)  # type: ignore[arg-type]
    return lines(lambda: machine.sessions.end(1, mine))  # type: ignore[arg-type]


def test_the_end_of_a_session_costs_what_it_had() -> None:
    assert cost_of_ending_a_session(MANY) <= 1.1 * cost_of_ending_a_session(FEW)


def cost_of_a_wait(others: int) -> int:
    """Lines of a collect that is parked, and of taking its session up again by name."""
    machine = machine_with()
    for number in range(others):
        session = machine.sessions.open(0, f"session {number}").reply
        machine.sessions.collect(0, session, count=1, connection=machine.connect(), caller=number)  # type: ignore[arg-type]
    mine = machine.sessions.open(0, "mine").reply
    connection = machine.connect()

    def wait() -> None:
        machine.sessions.open_named(1, "mine")
        machine.sessions.collect(1, mine, count=1, connection=connection, caller="me")  # type: ignore[arg-type]

    return lines(wait)


def test_a_wait_for_answers_costs_the_same_however_many_others_wait() -> None:
    assert cost_of_a_wait(MANY) <= 1.1 * cost_of_a_wait(FEW)


def cost_of_a_node(others: int) -> int:
    """Lines of a supervisor's comings and goings: reconnect, beat, a child's death, the end."""
    machine = machine_with()
    for _ in range(others):
        machine.register(0, period_ns=SECOND, kind=Kind.WORKER, connection=machine.connect())
    first, second = machine.connect(), machine.connect()
    node = machine.register_node(0, period_ns=SECOND, info="", connection=first).reply
    children = [
        machine.register(0, kind=Kind.WORKER, node=node, connection=machine.connect()).reply  # type: ignore[arg-type]
        for _ in range(2)
    ]
    for _ in range(others):
        machine.submit(0, "a", VALUE)
    machine.lease(0, process=children[0])  # type: ignore[arg-type]

    def come_and_go() -> None:
        machine.beat(1, node, children, second)  # type: ignore[arg-type]
        machine.disconnect(1, first)
        machine.child_exited(1, children[0], {}, "signal 9")  # type: ignore[arg-type]
        machine.unregister_node(node)  # type: ignore[arg-type]

    return lines(come_and_go)


def test_a_node_costs_the_same_however_many_processes_and_tasks_there_are() -> None:
    assert cost_of_a_node(MANY) <= 1.1 * cost_of_a_node(FEW)


def cost_of_explaining(scheduled: int) -> int:
    machine = machine_with()
    source = machine.submit(0, "a", VALUE).reply
    for number in range(scheduled):
        if number % 2:
            machine.submit(0, "a", VALUE, inputs=[source])  # type: ignore[list-item]
        else:
            machine.submit(0, "a", VALUE, due_at=SECOND * (1 + number))
    return lines(lambda: explain(machine, 0))


def test_to_explain_why_tasks_wait_costs_the_same_however_many_are_scheduled() -> None:
    assert cost_of_explaining(2 * MANY) <= 1.1 * cost_of_explaining(MANY)


def cost_of_looking_for_what_did_not_arrive(handed_out: int) -> int:
    machine = machine_with()
    session, connection = machine.sessions.open(0, "mine").reply, machine.connect()
    worker = machine.register(0).reply
    for _ in range(handed_out):
        machine.submit(0, "a", VALUE, session=session)  # type: ignore[arg-type]
        (lease,) = machine.lease(0, process=worker).reply  # type: ignore[arg-type,misc]
        machine.succeed(0, lease.task, VALUE)  # type: ignore[has-type]
    machine.sessions.collect(0, session, count=handed_out, connection=connection)  # type: ignore[arg-type]
    return lines(
        lambda: machine.sessions.collect(0, session, count=1, received=handed_out, connection=connection)  # type: ignore[arg-type]
    )


def test_to_collect_costs_the_same_however_much_was_received_and_not_taken_over() -> None:
    many, few = (cost_of_looking_for_what_did_not_arrive(number) for number in (MANY, FEW))
    assert many <= 1.1 * few


def cost_of_a_lease(views: int) -> int:
    """Lines of a lease that is followed by others, where so many other choices of tags were asked for."""
    machine = machine_with()
    for number in range(views):
        machine.lease(0, tags=frozenset({"a", f"tag{number}"}))
    for _ in range(3):
        machine.submit(0, "a", VALUE)
    machine.lease(0, tags=frozenset({"a"}))
    return lines(lambda: machine.lease(0, tags=frozenset({"a"})))


def test_a_lease_costs_the_same_however_many_other_choices_were_asked_for() -> None:
    assert cost_of_a_lease(MANY) <= 1.1 * cost_of_a_lease(FEW)


def cost_of_asking_for_more(held: int) -> int:
    machine = machine_with()
    worker, connection = machine.register(0, connection=machine.connect()).reply, machine.connect()
    for _ in range(held + 1):
        machine.submit(0, "a", VALUE)
    machine.lease(0, process=worker, connection=connection, count=held)  # type: ignore[arg-type]
    return lines(lambda: machine.lease(0, process=worker, connection=connection))  # type: ignore[arg-type]


def test_to_ask_for_more_costs_a_slave_the_same_however_much_it_has() -> None:
    assert cost_of_asking_for_more(MANY) <= 1.1 * cost_of_asking_for_more(FEW)
