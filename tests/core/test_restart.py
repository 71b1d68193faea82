"""A new run over what a journal has kept: work goes on, and everybody has to be heard."""

from __future__ import annotations

import pytest

from pyrotask.core import events as e
from pyrotask.core.machine import Machine
from pyrotask.core.model import SECOND, Kind, Limits, NewTask, Options, State
from pyrotask.core.recorder import (
    ATTEMPT_BLOCK,
    DELIVERY_BLOCK,
    NODE_BLOCK,
    PROCESS_BLOCK,
    SESSION_BLOCK,
    TASK_BLOCK,
)
from pyrotask.core.state import DurableState
from pyrotask.errors import NotHolder
from tests.core.world import VALUE, World

GRACE_S = Limits().recovery_grace_ns / SECOND


def restart(world: World) -> None:
    """Another run, from nothing but the events of the last."""
    world.machine = Machine(state=world.replayed())
    world.do(world.machine.start(world.now, "test"))
    world.replayed()


def test_a_replay_comes_to_the_same_state() -> None:
    world = World()
    connection = world.connect()
    node = world.register_node(connection=connection)
    process = world.register(1, node=node, connection=connection)
    session = world.open_session()
    world.run(session=session)
    source = world.submit(options=Options(priority=1))
    world.submit("b", inputs=[source])
    world.take(process=process)
    world.do(world.machine.store_data({"x": world.machine.state.tasks[source].payload}))

    assert world.replayed().image() == world.machine.state.image()


@pytest.mark.parametrize(("period_s", "grace_s"), [(None, GRACE_S), (1, GRACE_S), (60, 240)])
@pytest.mark.parametrize("kind", Kind)
def test_every_process_has_to_be_heard_within_the_grace_or_its_periods(
    kind: Kind, period_s: float | None, grace_s: float
) -> None:
    world = World()
    process = world.register(period_s, kind=kind, connection=world.connect())
    restart(world)
    world.pass_time(grace_s, ns=-1)
    assert world.is_registered(process)
    world.pass_time(ns=1)

    assert not world.is_registered(process)


def test_a_process_that_was_heard_keeps_its_task() -> None:
    world = World()
    worker, task = world.register(kind=Kind.WORKER, connection=world.connect()), world.submit()
    world.take(process=worker)
    restart(world)
    world.pass_time(GRACE_S / 2)
    world.machine.ping(world.now, worker, world.connect())
    world.do(world.machine.hold_only(world.now, worker, {task: 1}))
    world.pass_time(1000)

    assert world.state(task) is State.RUNNING


def test_a_process_of_our_own_process_that_is_heard_again_lives_there() -> None:
    world = World()
    master = world.register()
    restart(world)
    assert world.machine.ping(world.now, master)
    world.pass_time(1e6)

    assert world.is_registered(master)


def test_a_stall_after_a_restart_does_not_count_either() -> None:
    world = World()
    process = world.register(connection=world.connect())
    restart(world)
    world.machine.postpone_liveness(100 * SECOND)
    world.pass_time(100 + GRACE_S - 1)

    assert world.is_registered(process)


def test_a_supervisor_has_to_be_heard_too() -> None:
    world = World()
    connection = world.connect()
    heard, silent = world.register_node(), world.register_node()
    restart(world)
    connection = world.connect()
    for _ in range(40):
        world.pass_time(1)
        if heard in world.machine.state.nodes:
            world.beat(heard, connection=connection)

    assert set(world.machine.state.nodes) == {heard}
    assert silent not in world.machine.presence.nodes


def test_anonymous_leases_are_released() -> None:
    world = World()
    tasks = [world.submit(), world.submit()]
    world.lease(count=2)
    restart(world)

    assert world.waiting() == tasks


def test_what_was_scheduled_is_due_at_its_instant() -> None:
    world = World()
    task = world.submit(due_at=world.now + SECOND)
    restart(world)
    assert world.state(task) is State.SCHEDULED
    world.pass_time(1)

    assert world.waiting() == [task]


def test_a_time_limit_counts_on() -> None:
    world = World()
    process = world.register(60, connection=world.connect())
    task = world.submit(options=Options(time_limit_ns=20 * SECOND))
    world.take(process=process)
    world.pass_time(10)
    restart(world)
    world.pass_time(10)

    assert world.state(task) is State.FAILED


def test_answers_whose_arrival_nobody_can_tell_of_come_again_in_their_order() -> None:
    world = World()
    tasks = [world.run() for _ in range(3)]
    world.collect(final=False)
    world.collect(final=False)
    restart(world)

    assert [world.collected() for _ in tasks] == tasks


def test_what_a_session_was_handed_is_its_own_to_tell() -> None:
    world = World()
    session = world.open_session()
    task = world.run(session=session)
    world.collect(session=session, final=False)
    restart(world)
    assert world.collect(session=session) is None
    world.do(world.machine.acknowledge(task))

    assert world.state(task) is None


def test_a_new_run_begins_with_numbers_that_were_never_reserved_before() -> None:
    world = World()
    task, process, session = world.submit(), world.register(), world.open_session()
    node = world.register_node()
    restart(world)

    assert (world.submit(), world.register()) == (task + TASK_BLOCK, process + PROCESS_BLOCK)
    assert (world.open_session(), world.register_node()) == (session + SESSION_BLOCK, node + NODE_BLOCK)


def test_no_number_is_given_out_before_it_is_reserved() -> None:
    world = World()
    for _ in range(PROCESS_BLOCK + 1):
        world.do(world.machine.unregister(world.now, world.register()))
    reserved = [event.processes for event in world.events if isinstance(event, e.NumbersReserved)]
    positions = [n for n, event in enumerate(world.events) if isinstance(event, e.NumbersReserved)]

    assert reserved == [PROCESS_BLOCK, 2 * PROCESS_BLOCK]
    for position, first in zip(positions, (0, PROCESS_BLOCK), strict=True):
        event = world.events[position + 1]
        assert isinstance(event, e.ProcessRegistered)
        assert event.process == first


def test_the_numbers_of_tasks_go_on_over_the_end_of_a_block() -> None:
    world = World()
    machine = world.machine
    step = machine.submit_many(world.now, [NewTask("a", VALUE)] * (TASK_BLOCK + 1))
    reserved = [event.tasks for event in step.events if isinstance(event, e.NumbersReserved)]

    assert step.reply == tuple(range(TASK_BLOCK + 1))
    assert reserved == [2 * TASK_BLOCK]


def after_a_power_failure(world: World, lost: type[e.Event]) -> None:
    """Another run, without the last event of that type and what came after it."""
    last = max(n for n, event in enumerate(world.events) if isinstance(event, lost))
    del world.events[last:]
    state = DurableState()
    for event in world.events:
        state.apply(event)
    world.machine = Machine(state=state)
    world.do(world.machine.start(world.now, "test"))


def test_an_attempt_of_which_the_power_took_the_lease_has_a_number_of_its_own() -> None:
    world = World()
    process, task = world.register(60, connection=world.connect()), world.submit()
    (lost,) = world.lease(process=process)
    after_a_power_failure(world, e.TasksLeased)
    (lease,) = world.lease(process=process)

    assert (lease.task, lease.attempt) == (task, lost.attempt + ATTEMPT_BLOCK)


def test_attempts_at_a_new_task_count_from_one_in_every_run() -> None:
    world = World()
    world.submit()
    world.take()
    restart(world)
    new = world.submit(options=Options(priority=1))
    (lease,) = world.lease()

    assert (lease.task, lease.attempt) == (new, 1)
    with pytest.raises(NotHolder, match="never handed out as attempt 2"):
        world.succeed(new, attempt=2)


def test_the_value_of_an_attempt_of_which_the_power_took_the_lease_is_an_answer() -> None:
    world = World()
    task = world.submit()
    (lost,) = world.lease()
    after_a_power_failure(world, e.TasksLeased)

    assert world.state(task) is State.WAITING
    assert world.succeed(task, attempt=lost.attempt)


def test_a_failure_of_such_an_attempt_counts_for_nothing() -> None:
    world = World()
    task = world.submit()
    (lost,) = world.lease()
    after_a_power_failure(world, e.TasksLeased)
    world.take()

    with pytest.raises(NotHolder, match="attempt 1: no longer yours; attempt 101 runs"):
        world.fail(task, attempt=lost.attempt)


def test_attempts_beyond_a_block_are_reserved_before_they_are_made() -> None:
    world = World()
    task = world.submit()
    for _ in range(ATTEMPT_BLOCK + 1):
        world.give_back(world.take())
    reserved = [event.attempts for event in world.events if isinstance(event, e.NumbersReserved)]

    assert reserved == [0, ATTEMPT_BLOCK + 1, 2 * ATTEMPT_BLOCK + 1]
    assert world.machine.state.tasks[task].attempt == ATTEMPT_BLOCK + 1


def test_a_plain_slave_that_asks_for_more_never_got_what_the_last_run_handed_out() -> None:
    world = World()
    slave = world.register(60, connection=world.connect())
    task = world.submit()
    world.take(process=slave, connection=world.machine.connect())
    restart(world)  # and that reply was never sent
    (lease,) = world.lease(process=slave, connection=world.connect())

    assert (lease.task, lease.attempt) == (task, 1 + ATTEMPT_BLOCK)


def test_a_delivery_that_the_power_took_has_a_number_of_its_own() -> None:
    world = World()
    session = world.open_session()
    tasks = [world.run(session=session), world.run(session=session)]
    collect = world.machine.sessions.collect
    ((number, _),) = world.do(collect(world.now, session, count=1))
    after_a_power_failure(world, e.ResultsDelivered)
    collect = world.machine.sessions.collect
    again = world.do(collect(world.now, session, count=2, taken_over=number))

    assert [one.answer.task for one in again] == tasks  # none was taken over by mistake
    assert [one.delivery for one in again] == [1 + DELIVERY_BLOCK, 2 + DELIVERY_BLOCK]


def test_a_terminated_manager_stays_terminated() -> None:
    world = World()
    world.do(world.machine.terminate(world.now))
    restart(world)

    assert world.machine.state.terminated
