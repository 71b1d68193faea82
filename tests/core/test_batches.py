"""What is done for many tasks at once is what it is for each of them, one after another."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyrotask.core import events as e
from pyrotask.core.model import (
    DEFAULT_OPTIONS,
    PICKLE,
    Kind,
    Lease,
    NewTask,
    Options,
    Payload,
    State,
    TaskNumber,
)
from pyrotask.errors import NotHolder, PayloadError, UnknownTask
from tests.core.world import OBJECT, VALUE, World

URGENT = Options(priority=1)
NEW = st.tuples(
    st.sampled_from("abc"), st.sampled_from([VALUE, OBJECT]), st.sampled_from([DEFAULT_OPTIONS, URGENT])
)
ITEMS = NEW.map(lambda said: NewTask(*said)) | st.just(NewTask("a", VALUE, key="key"))


def kinds(events: list[e.Event]) -> list[type[e.Event]]:
    return [type(event) for event in events]


def since(world: World, before: int) -> list[e.Event]:
    return world.events[before:]


def leased(world: World, count: int, **options: Any) -> tuple[Lease, ...]:
    """Several tasks under way, submitted together."""
    world.do(world.machine.submit_many(world.now, [NewTask("a", VALUE)] * count, **options))
    return world.lease(count=count)


def succeed_many(world: World, *answers: tuple[int, int | None, Payload]) -> list[tuple[int, Exception]]:
    refused = world.do(
        world.machine.succeed_many(world.now, [(TaskNumber(n), tried, value) for n, tried, value in answers])
    )
    assert isinstance(refused, list)
    return refused


# --- one event for many -----------------------------------------------------------------------


def test_the_ordinary_life_of_many_tasks_is_five_events() -> None:
    world = World()
    session = world.open_session()
    world.submit()
    world.succeed(world.take())  # what numbers have to be reserved is reserved
    world.collect()
    before = len(world.events)
    leases = leased(world, 3, session=session)
    succeed_many(world, *[(lease.task, lease.attempt, VALUE) for lease in leases])
    collect = world.machine.sessions.collect
    deliveries = world.do(collect(world.now, session, count=5))
    world.do(collect(world.now, session, count=0, taken_over=deliveries[-1].delivery))

    assert [kind for kind in kinds(since(world, before)) if kind is not e.NumbersReserved] == [
        e.TasksSubmitted,
        e.TasksLeased,
        e.TasksSucceeded,
        e.ResultsDelivered,
        e.TasksForgotten,
    ]
    assert [one.answer.task for one in deliveries] == [lease.task for lease in leases]
    assert set(world.machine.state.tasks) == set()


# --- submitting ---------------------------------------------------------------------------------


@given(st.lists(ITEMS))
def test_many_that_are_submitted_together_are_as_if_they_came_one_by_one(items: list[NewTask]) -> None:
    together, alone = World(), World()
    numbers = together.do(together.machine.submit_many(together.now, items))
    one_by_one = [alone.submit(item.tag, item.payload, options=item.options, key=item.key) for item in items]

    assert list(numbers) == one_by_one
    there, expected = together.machine.state.image(), alone.machine.state.image()
    del there["reserved"], expected["reserved"]
    assert there == expected


# --- leasing ------------------------------------------------------------------------------------


@given(st.lists(ITEMS), st.sets(st.integers(0, 20)), st.integers(2, 10))
def test_many_are_handed_out_in_the_order_in_which_they_would_be_one_by_one(
    items: list[NewTask], returned: set[int], count: int
) -> None:
    together, alone = World(), World()
    for world in (together, alone):
        world.do(world.machine.submit_many(world.now, items))
        while world.lease():
            pass
        for number in returned & set(world.machine.state.tasks):
            world.give_back(TaskNumber(number))
        for number in set(world.machine.state.tasks) - returned:
            world.succeed(TaskNumber(number))
        for tag in "abc":  # the pace of short tasks: as many as are asked for go out together
            world.machine.paces.note(tag, 1, 1)

    handed_out = [lease.task for lease in together.lease(count=count)]

    assert handed_out == [lease.task for _ in range(count) for lease in alone.lease()]


def test_each_of_many_has_an_attempt_of_its_own() -> None:
    world = World()
    returned = world.submit()
    world.give_back(world.take())
    new = world.submit()

    assert [(lease.task, lease.attempt) for lease in world.lease(count=2)] == [(returned, 2), (new, 1)]


# --- succeeding ---------------------------------------------------------------------------------


def test_what_is_refused_of_many_answers_does_not_hinder_the_others() -> None:
    world = World()
    world.submit("plain", options=Options(plain_answer=True))
    (plain,) = world.lease("plain")
    one, other = leased(world, 2)
    never = world.submit()
    refused = succeed_many(
        world,
        (one.task, one.attempt, VALUE),
        (never, 1, VALUE),
        (plain.task, plain.attempt, OBJECT),
        (99, 1, VALUE),
        (other.task, other.attempt, OBJECT),
    )

    assert [(task, type(error)) for task, error in refused] == [
        (never, NotHolder),
        (plain.task, PayloadError),
        (99, UnknownTask),
    ]
    assert world.state(one.task) is world.state(other.task) is State.SUCCEEDED
    assert world.state(plain.task) is State.RUNNING


def test_of_many_answers_to_one_task_the_first_counts() -> None:
    world = World()
    (lease,) = leased(world, 1)
    first = Payload(PICKLE, (b"first",))
    refused = succeed_many(world, (lease.task, lease.attempt, first), (lease.task, lease.attempt, OBJECT))
    again = succeed_many(world, (lease.task, lease.attempt, OBJECT))
    answer = world.collect()

    assert refused == again == []
    assert answer is not None
    assert answer.outcome == (first,)
    assert world.machine.state.late_answers == 2


def test_those_who_run_what_an_earlier_attempt_has_answered_are_told() -> None:
    world = World()
    world.submit()
    (earlier,) = world.lease()
    world.give_back(earlier.task)
    process = world.register(kind=Kind.WORKER, connection=world.connect())
    (later,) = world.lease(process=process)
    succeed_many(world, (earlier.task, earlier.attempt, VALUE))

    assert world.machine.take_ended(process) == [(later.task, later.attempt)]


def test_many_that_succeed_together_let_the_input_go_that_they_share() -> None:
    world = World()
    shared = world.run()
    for _ in range(2):
        world.submit(inputs=[shared])
    world.collect()
    leases = world.lease(count=1) + world.lease(count=1)
    succeed_many(world, *[(lease.task, lease.attempt, VALUE) for lease in leases])

    assert world.state(shared) is None


def test_failures_and_values_of_a_session_are_collected_together() -> None:
    world = World()
    session = world.open_session()
    one, other = leased(world, 2, session=session)
    world.fail(one.task)
    world.succeed(other.task)
    collect = world.machine.sessions.collect
    deliveries = world.do(collect(world.now, session, count=5))

    assert [(one.delivery, one.answer.task) for one in deliveries] == [(1, one.task), (2, other.task)]


def test_what_is_answered_together_reaches_whoever_waits_together() -> None:
    world = World()
    session = world.open_session()
    leases = leased(world, 3, session=session)
    collect = world.machine.sessions.collect
    world.do(collect(world.now, session, count=5, connection=world.connect(), caller="client"))
    succeed_many(world, *[(lease.task, lease.attempt, VALUE) for lease in leases])

    assert [one.answer.task for one in world.answers["client"]] == [lease.task for lease in leases]
