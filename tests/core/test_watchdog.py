"""When a silence is a loss, to the nanosecond."""

from __future__ import annotations

import pytest

from pyrotask.core import events as e
from pyrotask.core.model import SECOND, Kind, Limits, ProcessId, State
from pyrotask.errors import UnknownProcess
from tests.core.world import World

LIMITS = Limits()
PLAIN_GRACE_S = LIMITS.plain_grace_ns / SECOND
RECONNECT_GRACE_S = LIMITS.reconnect_grace_ns / SECOND
PERIODS_S = [0.2, 0.5, 1, 7.3, 60, 120]


def lost_exactly_after(world: World, process: ProcessId, seconds: float) -> None:
    """One nanosecond before, nothing has happened."""
    world.pass_time(seconds, ns=-1)
    assert world.is_registered(process), f"lost before {seconds} s"
    world.pass_time(ns=1)
    assert not world.is_registered(process), f"not lost after {seconds} s"


# --- with a promise -------------------------------------------------------------------------


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_a_silent_process_is_lost_after_four_of_its_periods(period_s: float) -> None:
    world = World()
    process = world.register(period_s, connection=world.connect())

    lost_exactly_after(world, process, 4 * period_s)


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_a_process_in_our_own_process_keeps_its_promise_too(period_s: float) -> None:
    world = World()

    lost_exactly_after(world, world.register(period_s), 4 * period_s)


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_without_a_connection_it_is_lost_after_one_silent_period_and_a_half(period_s: float) -> None:
    world = World()
    connection = world.connect()
    process = world.register(period_s, connection=connection)
    world.pass_time(period_s / 2)
    world.disconnect(connection)

    lost_exactly_after(world, process, period_s)


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_a_slave_that_opens_a_proxy_for_each_ping_is_never_lost(period_s: float) -> None:
    world = World()
    connection = world.connect()
    process, task = world.register(period_s, connection=connection), world.submit()
    world.take(process=process, connection=connection)
    world.disconnect(connection)
    for _ in range(50):
        world.pass_time(period_s)
        connection = world.connect()
        assert world.machine.ping(world.now, process, connection)
        world.disconnect(connection)

    assert world.state(task) is State.RUNNING
    lost_exactly_after(world, process, 1.5 * period_s)


def test_every_call_of_a_process_is_a_sign_of_life() -> None:
    world = World()
    connection = world.connect()
    process = world.register(1, connection=connection)
    machine = world.machine
    task, other = world.submit(), world.submit()
    for call in (
        lambda: machine.ping(world.now, process),
        lambda: machine.hear(world.now, connection),
        lambda: world.submit(process=process),
        lambda: world.submit(connection=connection),
        lambda: world.lease("b", process=process),
        lambda: world.lease("b", connection=connection),
        lambda: world.collect(connection=connection),
        lambda: world.lease(process=process, count=2),
        lambda: world.fail(other, process=process),
        lambda: world.succeed(task, connection=connection),
        lambda: world.give_back(task, process=process),
        lambda: world.fail(task, connection=connection),
    ):
        world.pass_time(3.9)
        call()
    world.pass_time(3.9)

    assert world.is_registered(process)


def test_a_ping_does_not_resurrect() -> None:
    world = World()
    process = world.register(1)
    world.pass_time(4)

    assert not world.machine.ping(world.now, process)
    assert not world.is_registered(process)


def test_a_lost_process_is_told_so_when_it_asks_for_a_task() -> None:
    world = World()
    process, other = world.register(1), world.register()
    world.pass_time(4)

    with pytest.raises(UnknownProcess, match=f"process {process} is not registered.*active: {other}"):
        world.lease(process=process)


def test_the_tasks_of_a_lost_process_come_first_in_their_old_order() -> None:
    world = World()
    process = world.register(1)
    tasks = [world.submit(tag) for tag in "abc"]
    world.lease(process=process, count=2)
    world.pass_time(4)

    assert world.waiting() == tasks


def test_what_becomes_of_its_tasks_happens_before_the_process_is_lost() -> None:
    world = World()
    process, _ = world.register(1), world.submit()
    world.take(process=process)
    world.pass_time(4)

    assert [type(event) for event in world.events[-2:]] == [e.TaskLost, e.ProcessLost]


def test_a_parked_request_is_a_sign_of_life_and_the_period_begins_anew_when_it_is_answered() -> None:
    world = World()
    connection = world.connect()
    process = world.register(1, connection=connection)
    world.park("it", process=process, connection=connection)
    world.pass_time(1000)
    assert world.is_registered(process)
    world.submit()

    lost_exactly_after(world, process, 4)


def test_a_request_that_does_not_name_the_process_is_a_sign_of_life_over_its_connection() -> None:
    world = World()
    connection = world.connect()
    process = world.register(1, connection=connection)
    world.park_for_answer("it", connection=connection)
    world.park("another", connection=connection)
    world.pass_time(1000)

    assert world.is_registered(process)


def test_a_withdrawn_request_is_a_sign_of_life_no_more() -> None:
    world = World()
    process = world.register(1)
    want = world.park("it", process=process)
    world.pass_time(1000)
    world.machine.withdraw(world.now, want)

    lost_exactly_after(world, process, 4)


def test_a_closed_connection_ends_its_requests_and_what_they_were_signs_of() -> None:
    world = World()
    connection = world.connect()
    process = world.register(1, connection=connection)
    world.park("it", process=process, connection=connection)
    world.pass_time(1000)
    world.disconnect(connection)

    lost_exactly_after(world, process, 1.5)


# --- without a promise ----------------------------------------------------------------------


def test_a_process_without_a_promise_is_lost_a_grace_after_its_last_connection_closed() -> None:
    world = World()
    first, second = world.connect(), world.connect()
    process = world.register(connection=first)
    world.machine.ping(world.now, process, second)
    world.disconnect(first)
    world.pass_time(1000)
    world.disconnect(second)

    lost_exactly_after(world, process, PLAIN_GRACE_S)


def test_a_process_without_a_promise_is_never_lost_while_it_is_connected() -> None:
    world = World()
    process = world.register(connection=world.connect())
    world.pass_time(1e6)

    assert world.is_registered(process)


def test_a_process_that_comes_back_within_its_grace_stays() -> None:
    world = World()
    connection = world.connect()
    process = world.register(connection=connection)
    world.disconnect(connection)
    world.pass_time(PLAIN_GRACE_S, ns=-1)
    world.machine.ping(world.now, process, world.connect())
    world.pass_time(1e6)

    assert world.is_registered(process)


def test_our_own_worker_is_lost_a_second_after_its_last_connection_closed() -> None:
    world = World()
    connection = world.connect()
    worker = world.register(120, kind=Kind.WORKER, connection=connection)
    world.pass_time(10)
    world.disconnect(connection)

    lost_exactly_after(world, worker, RECONNECT_GRACE_S)


def test_a_master_in_our_own_process_is_not_at_risk_when_somebody_names_it_over_a_connection() -> None:
    world = World()
    master, connection = world.register(), world.connect()
    world.machine.ping(world.now, master, connection)
    world.disconnect(connection)
    world.pass_time(1e6)

    assert world.is_registered(master)


def test_a_connection_that_names_another_process_does_not_speak_for_the_first_any_more() -> None:
    world = World()
    connection = world.connect()
    first = world.register(connection=connection)
    second = world.register(connection=connection)
    lost_exactly_after(world, first, PLAIN_GRACE_S)

    assert world.is_registered(second)


def test_a_connection_outlives_its_process() -> None:
    world = World()
    connection = world.connect()
    world.do(world.machine.unregister(world.now, world.register(connection=connection)))
    world.machine.hear(world.now, connection)
    process = world.register(connection=connection)

    assert world.machine.presence.connections[connection].process == process


def test_what_comes_over_a_closed_connection_is_no_sign_of_life() -> None:
    world = World()
    connection = world.connect()
    process = world.register(1, connection=connection)
    world.disconnect(connection)
    world.pass_time(1.4)
    world.machine.hear(world.now, connection)

    lost_exactly_after(world, process, 0.1)


# --- crash or loss ----------------------------------------------------------------------------


def test_a_process_that_went_with_one_task_and_without_a_word_crashed() -> None:
    world = World()
    connection = world.connect()
    process, _ = world.register(connection=connection), world.submit()
    world.take(process=process, connection=connection)
    world.disconnect(connection)
    world.pass_time(PLAIN_GRACE_S)

    crashed = [event for event in world.events if isinstance(event, e.TaskCrashed)]
    assert [event.detail for event in crashed] == [
        "process 0 had no connection left and was silent for 30.0 s"
    ]


def test_nobody_knows_which_of_two_tasks_it_was() -> None:
    world = World()
    connection = world.connect()
    process = world.register(connection=connection)
    world.submit()
    world.submit()
    world.lease(process=process, connection=connection, count=2)
    world.disconnect(connection)
    world.pass_time(PLAIN_GRACE_S)

    assert not [event for event in world.events if isinstance(event, e.TaskCrashed)]


# --- supervisors and children -----------------------------------------------------------------


def test_a_silent_supervisor_is_lost_after_four_periods() -> None:
    world = World()
    node = world.register_node(1, connection=world.connect())
    world.pass_time(4, ns=-1)
    assert node in world.machine.state.nodes
    world.pass_time(ns=1)

    assert node not in world.machine.state.nodes


def test_a_supervisor_is_lost_a_second_after_its_last_connection_closed() -> None:
    world = World()
    connection = world.connect()
    node = world.register_node(10, connection=connection)
    world.disconnect(connection)
    world.pass_time(RECONNECT_GRACE_S, ns=-1)
    assert node in world.machine.state.nodes
    world.pass_time(ns=1)

    assert node not in world.machine.state.nodes


def test_a_supervisor_may_beat_for_children_that_hold_the_interpreter() -> None:
    world = World()
    connection = world.connect()
    node = world.register_node(1, connection=connection)
    child = world.register(1, node=node, kind=Kind.WORKER, connection=world.connect())
    for _ in range(3600):
        world.now += SECOND
        assert world.beat(node, child, connection=connection) == []
    world.pass_time()

    assert world.is_registered(child)


def test_a_beat_tells_which_children_are_not_known_any_more() -> None:
    world = World()
    node = world.register_node()
    child = world.register(node=node)
    world.do(world.machine.unregister(world.now, child))

    assert world.beat(node, child) == [child]


def test_the_beat_of_an_unknown_supervisor_is_refused() -> None:
    world = World()
    node = world.register_node()
    world.do(world.machine.unregister_node(node))

    with pytest.raises(UnknownProcess, match="supervisor 0"):
        world.beat(node)
    with pytest.raises(UnknownProcess):
        world.register(node=node)


def test_what_comes_over_a_supervisors_connection_is_its_sign_of_life() -> None:
    world = World()
    connection = world.connect()
    node = world.register_node(1, connection=connection)
    world.pass_time(3)
    world.machine.hear(world.now, connection)
    world.pass_time(3)

    assert node in world.machine.state.nodes


def test_a_child_whose_connection_broke_is_not_lost_while_its_supervisor_is_connected() -> None:
    world = World()
    supervisor, own = world.connect(), world.connect()
    node = world.register_node(1e6, connection=supervisor)
    child = world.register(kind=Kind.WORKER, node=node, connection=own)
    world.disconnect(own)
    world.pass_time(1000)
    assert world.is_registered(child)
    world.disconnect(supervisor)

    lost_exactly_after(world, child, RECONNECT_GRACE_S)


def test_the_children_of_a_lost_node_are_lost_with_it() -> None:
    world = World()
    connections = [world.connect() for _ in range(3)]
    node = world.register_node(1, connection=connections[0])
    children = [world.register(kind=Kind.WORKER, node=node, connection=c) for c in connections[1:]]
    for connection in connections:
        world.disconnect(connection)
    world.pass_time(RECONNECT_GRACE_S)

    assert not any(map(world.is_registered, children))


def test_a_child_of_a_lost_node_did_not_crash() -> None:
    world = World()
    supervisor, own = world.connect(), world.connect()
    node = world.register_node(1, connection=supervisor)
    child, _ = world.register(kind=Kind.WORKER, node=node, connection=own), world.submit()
    world.take(process=child, connection=own)
    world.disconnect(supervisor)
    world.disconnect(own)
    world.pass_time(RECONNECT_GRACE_S)

    assert [type(event) for event in world.events if isinstance(event, (e.TaskCrashed, e.TaskLost))] == [
        e.TaskLost
    ]


def test_a_connection_that_turns_to_another_supervisor_leaves_the_first_alone() -> None:
    world = World()
    connection = world.connect()
    first = world.register_node(10, connection=connection)
    child = world.register(kind=Kind.WORKER, node=first, connection=world.connect())
    world.register_node(10, connection=connection)
    world.pass_time(RECONNECT_GRACE_S)

    assert first not in world.machine.state.nodes
    assert world.is_registered(child)


def test_a_child_out_of_reach_is_in_reach_again_with_its_supervisor() -> None:
    world = World()
    first, own = world.connect(), world.connect()
    node = world.register_node(1, connection=first)
    child = world.register(kind=Kind.WORKER, node=node, connection=own)
    world.disconnect(own)
    world.disconnect(first)
    world.pass_time(RECONNECT_GRACE_S / 2)
    world.beat(node, connection=world.connect())
    world.pass_time(3)

    assert world.is_registered(child)


def test_a_child_out_of_reach_stays_so_when_its_supervisors_connection_turns_to_another() -> None:
    world = World()
    supervisor, own = world.connect(), world.connect()
    node = world.register_node(1, connection=supervisor)
    child = world.register(kind=Kind.WORKER, node=node, connection=own)
    world.disconnect(own)
    world.beat(world.register_node(1), connection=supervisor)

    lost_exactly_after(world, child, RECONNECT_GRACE_S)


def test_a_supervisor_is_not_counted_as_a_process() -> None:
    world = World()
    world.register_node()

    assert not world.machine.state.processes


# --- our own silence --------------------------------------------------------------------------


def test_nobody_is_lost_for_a_stall_of_our_own() -> None:
    world = World()
    connection, anonymous = world.connect(), world.connect()
    promised = world.register(1, connection=world.connect())
    closed = world.register(connection=connection)
    node = world.register_node(1, connection=world.connect())
    task = world.submit()
    world.take(connection=anonymous)
    world.disconnect(connection)
    world.disconnect(anonymous)
    world.machine.postpone_liveness(100 * SECOND)
    world.pass_time(100)

    assert world.is_registered(promised)
    assert world.is_registered(closed)
    assert node in world.machine.state.nodes
    assert world.state(task) is State.RUNNING


def test_after_a_stall_the_silence_counts_on_where_it_was() -> None:
    world = World()
    process = world.register(1)
    world.pass_time(3)
    world.machine.postpone_liveness(100 * SECOND)
    world.pass_time(100)

    lost_exactly_after(world, process, 1)


# --- registering ------------------------------------------------------------------------------


def test_processes_are_numbered_from_0() -> None:
    world = World()

    assert [world.register() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("period_s", [0, -1])
def test_a_period_must_be_greater_than_0(period_s: float) -> None:
    world = World()

    with pytest.raises(ValueError, match="watchdog_period must be greater than 0 s"):
        world.register(period_s)
    with pytest.raises(ValueError, match="greater than 0"):
        world.register_node(period_s)
    assert not world.machine.state.processes


def test_unregistering_gives_the_tasks_back_in_their_old_order() -> None:
    world = World()
    process = world.register()
    tasks = [world.submit(tag) for tag in "abacd"]
    world.lease(process=process, count=4)
    world.do(world.machine.unregister(world.now, process))

    assert world.waiting() == tasks
    assert not [event for event in world.events if isinstance(event, (e.TaskCrashed, e.TaskLost))]


def test_unregistering_twice_is_refused_and_changes_nothing() -> None:
    world = World()
    process = world.register()
    world.do(world.machine.unregister(world.now, process))
    events = len(world.events)

    with pytest.raises(UnknownProcess):
        world.machine.unregister(world.now, process)
    assert len(world.events) == events


def test_process_0_is_a_process() -> None:
    world = World()
    process = world.register()
    assert process == 0
    task = world.submit(process=process)
    world.take(process=process)

    assert list(world.machine.state.processes[process].tasks) == [task]


def test_a_process_that_is_back_at_once_is_lost_after_four_periods_again() -> None:
    world = World()
    first = world.connect()
    process = world.register(0.1, kind=Kind.WORKER, connection=first)
    world.pass_time(0.001)
    world.disconnect(first)
    world.pass_time(0.001)
    assert world.machine.ping(world.now, process, world.connect())

    lost_exactly_after(world, process, 0.4)


def test_the_time_of_a_process_begins_anew_with_each_sign_of_life_however_many_there_are() -> None:
    world = World()
    process = world.register(1, connection=world.connect())
    for _ in range(30):
        world.pass_time(0.01)
        assert world.machine.ping(world.now, process)
    world.pass_time(4, ns=-1)
    assert world.is_registered(process)
    world.pass_time(ns=1)
    assert not world.is_registered(process)
