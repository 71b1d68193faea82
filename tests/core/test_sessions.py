"""Sessions: calls that are done once, and answers that arrive once."""

from __future__ import annotations

from typing import Any

import pytest

from pyrotask.core.events import CallAnswered
from pyrotask.core.interventions import NO_MORE
from pyrotask.core.machine import Machine, Parked
from pyrotask.core.model import (
    SECOND,
    Delivered,
    Limits,
    NewTask,
    SessionId,
    State,
    Success,
    TaskNumber,
)
from pyrotask.core.recorder import Step
from pyrotask.core.selection import Selection
from pyrotask.errors import QueueFull, Refused, SessionExpired, TaskManagerTermination, UnknownSession
from tests.core.world import VALUE, World

RETENTION_S = Limits().session_retention_ns / SECOND


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def session(world: World) -> SessionId:
    return world.open_session()


def restart(world: World) -> None:
    """Another run, from nothing but the events of the last."""
    world.machine = Machine(world.machine.limits, state=world.replayed())
    world.do(world.machine.start(world.now, "test"))
    world.replayed()


def once(world: World, session: SessionId, sequence: int, low_water: int = 0, tag: str = "a") -> Any:
    """Submit one task, as the call of that number."""

    def submit() -> Step:
        return world.machine.submit_many(world.now, [NewTask(tag, VALUE)], session=session)

    return world.do(world.machine.sessions.once(world.now, session, sequence, low_water, submit))


def collect(world: World, session: SessionId, **options: Any) -> list[Delivered]:
    options.setdefault("count", 100)
    reply = world.do(world.machine.sessions.collect(world.now, session, **options))
    assert isinstance(reply, list), reply
    return reply


def park(world: World, session: SessionId, caller: str, **options: Any) -> None:
    step = world.machine.sessions.collect(world.now, session, count=10, caller=caller, **options)
    assert isinstance(world.do(step), Parked)


def tasks_of(delivered: list[Delivered]) -> list[TaskNumber]:
    return [one.answer.task for one in delivered]


def runs(world: World, session: SessionId, count: int = 3) -> list[TaskNumber]:
    return [world.run(session=session) for _ in range(count)]


# --- many tasks in one call ---------------------------------------------------------------------


def test_many_tasks_get_numbers_in_their_order(world: World) -> None:
    reply = world.do(world.machine.submit_many(world.now, [NewTask(tag, VALUE) for tag in "abc"]))

    assert reply == (0, 1, 2)
    assert [world.machine.state.tasks[number].tag for number in reply] == ["a", "b", "c"]


def test_when_there_is_no_room_for_all_none_is_taken_on() -> None:
    world = World(Limits(max_waiting=3))
    world.submit()
    with pytest.raises(QueueFull, match="max_waiting"):
        world.machine.submit_many(world.now, [NewTask("a", VALUE)] * 3)

    assert world.waiting() == [0]
    assert world.do(world.machine.submit_many(world.now, [NewTask("a", VALUE)] * 2)) == (1, 2)


def test_those_who_wait_are_served_from_the_middle_of_a_submit(world: World) -> None:
    world.park("slave", "b")
    world.do(world.machine.submit_many(world.now, [NewTask(tag, VALUE) for tag in "abc"]))

    assert world.answers["slave"][0].task == 1


# --- calls that are repeated --------------------------------------------------------------------


def test_a_call_that_changes_nothing_is_remembered_by_one_event(world: World, session: SessionId) -> None:
    cancel = lambda: world.machine.interventions.cancel_many(world.now, Selection(), "", limit=1)  # noqa: E731
    step = world.machine.sessions.once(world.now, session, 1, 0, cancel)

    assert world.do(step) == (NO_MORE,)
    assert [type(event) for event in step.events] == [CallAnswered]


def test_a_repeated_call_gets_the_first_reply_and_is_done_once(world: World, session: SessionId) -> None:
    assert once(world, session, 1) == once(world, session, 1) == (0,)
    assert world.waiting() == [0]


def test_a_repeat_after_a_restart_is_not_done_again(world: World, session: SessionId) -> None:
    once(world, session, 1)
    restart(world)

    assert once(world, session, 1) == (0,)
    assert world.waiting() == [0]


def test_calls_may_come_in_any_order(world: World, session: SessionId) -> None:
    assert [once(world, session, n) for n in (2, 3, 1)] == [(0,), (1,), (2,)]


def test_what_the_client_has_is_remembered_no_longer(world: World, session: SessionId) -> None:
    for n in range(1, 6):
        once(world, session, n, low_water=n - 1)

    assert list(world.machine.state.sessions[session].replies) == [5]


def test_a_call_whose_reply_the_client_has_is_refused(world: World, session: SessionId) -> None:
    once(world, session, 1)
    once(world, session, 2, low_water=1)
    with pytest.raises(Refused, match="call 1 of session 1 was answered before"):
        once(world, session, 1)


def test_a_call_that_was_refused_can_be_repeated(session: SessionId) -> None:
    world = World(Limits(max_waiting=1))
    mine = world.open_session()
    world.submit()
    with pytest.raises(QueueFull):
        once(world, mine, 1)
    world.take()

    assert once(world, mine, 1) == (1,)


def test_replies_that_nobody_confirms_are_bounded() -> None:
    world = World(Limits(max_unconfirmed=2))
    session = world.open_session()
    once(world, session, 1)
    once(world, session, 2)
    with pytest.raises(Refused, match="say with each call"):
        once(world, session, 3)

    assert once(world, session, 3, low_water=2) == (2,)


def test_each_session_numbers_its_own_calls(world: World, session: SessionId) -> None:
    other = world.open_session()

    assert [once(world, session, 1), once(world, other, 1)] == [(0,), (1,)]


# --- opening, contact, the end ------------------------------------------------------------------


def test_opening_by_name_a_second_time_gives_the_same_session(world: World) -> None:
    first = world.do(world.machine.sessions.open_named(world.now, "mine"))

    assert world.do(world.machine.sessions.open_named(world.now, "mine")) == first
    assert world.do(world.machine.sessions.open_named(world.now, "another")) != first


def test_sessions_are_bounded() -> None:
    world = World(Limits(max_sessions=1))
    world.open_session()
    with pytest.raises(QueueFull, match="close some"):
        world.machine.sessions.open(world.now, "one too many")


def test_a_session_without_contact_ends_and_is_told_apart_from_an_unknown_one(
    world: World, session: SessionId
) -> None:
    task = world.submit(session=session)
    world.pass_time(RETENTION_S, ns=-1)
    assert session in world.machine.state.sessions
    world.pass_time(ns=1)

    assert world.state(task) is None
    with pytest.raises(SessionExpired, match="session 1 has ended"):
        once(world, session, 1)
    with pytest.raises(UnknownSession, match="was ever opened"):
        once(world, SessionId(77), 1)


def test_each_call_is_contact(world: World, session: SessionId) -> None:
    for act in (
        lambda: once(world, session, 1),
        lambda: collect(world, session),
    ):
        world.pass_time(RETENTION_S - 1)
        act()

    assert session in world.machine.state.sessions


def test_after_a_restart_a_session_has_the_whole_time_again(world: World, session: SessionId) -> None:
    world.pass_time(RETENTION_S - 1)
    restart(world)
    world.pass_time(RETENTION_S, ns=-1)
    assert session in world.machine.state.sessions
    world.pass_time(ns=1)

    assert session not in world.machine.state.sessions


def test_nothing_is_done_in_a_session_that_has_ended(world: World, session: SessionId) -> None:
    world.do(world.machine.sessions.end(world.now, session))
    with pytest.raises(SessionExpired):
        once(world, session, 1)

    assert world.waiting() == []


def test_who_waits_in_a_session_is_told_of_its_end(world: World, session: SessionId) -> None:
    park(world, session, "client")
    world.do(world.machine.sessions.end(world.now, session))

    assert isinstance(world.answers["client"], SessionExpired)


def test_the_public_session_has_no_numbered_calls(world: World) -> None:
    with pytest.raises(UnknownSession, match="open one of your own"):
        once(world, SessionId(0), 1)


# --- deliveries ---------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_completion_with_rising_numbers(
    world: World, session: SessionId
) -> None:
    tasks = runs(world, session)
    delivered = collect(world, session)

    assert tasks_of(delivered) == tasks
    assert [one.delivery for one in delivered] == [1, 2, 3]
    assert isinstance(delivered[0].answer.outcome, Success)


def test_no_more_come_than_asked_for(world: World, session: SessionId) -> None:
    tasks = runs(world, session)

    assert tasks_of(collect(world, session, count=2)) == tasks[:2]


def test_what_is_taken_over_never_comes_again(world: World, session: SessionId) -> None:
    tasks = runs(world, session)
    collect(world, session)

    assert tasks_of(collect(world, session, taken_over=2)) == tasks[2:]
    assert world.state(tasks[0]) is None


def test_what_is_not_taken_over_comes_again_under_its_number(world: World, session: SessionId) -> None:
    runs(world, session)

    assert collect(world, session) == collect(world, session)


def test_what_is_not_taken_over_comes_again_after_a_restart(world: World, session: SessionId) -> None:
    runs(world, session)
    first = collect(world, session)
    restart(world)

    assert collect(world, session, taken_over=1) == first[1:]


def test_what_has_arrived_need_not_be_taken_over_to_get_the_next(world: World, session: SessionId) -> None:
    tasks = runs(world, session)
    collect(world, session, count=2)

    assert tasks_of(collect(world, session, received=2)) == tasks[2:]
    assert tasks_of(collect(world, session)) == tasks


def test_only_the_tags_that_are_asked_for_come(world: World, session: SessionId) -> None:
    mine = world.run("b", session=session)
    world.run("a", session=session)

    assert tasks_of(collect(world, session, tags=frozenset("b"))) == [mine]
    assert tasks_of(collect(world, session, tags=frozenset("b"))) == [mine]


def test_what_is_handed_out_is_invisible_to_others(world: World, session: SessionId) -> None:
    runs(world, session)
    collect(world, session)

    assert collect(world, world.open_session()) == []
    assert world.collect() is None


def test_a_client_that_waits_gets_its_answer_with_a_number(world: World, session: SessionId) -> None:
    park(world, session, "client")
    task = world.run(session=session)

    ((delivery, answer),) = world.answers["client"]
    assert (delivery, answer.task) == (1, task)


def test_who_collects_over_a_new_connection_takes_the_place_of_the_old(
    world: World, session: SessionId
) -> None:
    park(world, session, "before", connection=world.connect())
    park(world, session, "after", connection=world.connect())
    task = world.run(session=session)

    assert "another connection" in str(world.answers["before"])
    assert world.answers["after"][0].answer.task == task


def test_a_delivery_that_never_was_cannot_be_taken_over(world: World, session: SessionId) -> None:
    with pytest.raises(Refused, match="delivery 7 of session 1 was never handed out"):
        collect(world, session, taken_over=7)
    with pytest.raises(Refused, match="delivery 1 of session 1 was never handed out"):
        collect(world, session, received=1)


def test_answers_that_nobody_takes_over_are_bounded() -> None:
    world = World(Limits(max_unconfirmed=2))
    session = world.open_session()
    tasks = runs(world, session)
    collect(world, session)

    assert collect(world, session, received=2) == []
    assert tasks_of(collect(world, session, taken_over=1, received=2)) == tasks[2:]


def test_large_answers_come_in_parts() -> None:
    world = World(Limits(max_reply_bytes=2 * VALUE.nbytes))
    session = world.open_session()
    tasks = runs(world, session, 5)

    assert tasks_of(collect(world, session)) == tasks[:2]
    assert tasks_of(collect(world, session, received=2)) == tasks[2:4]
    assert tasks_of(collect(world, session)) == tasks[:2], "what comes again, too"
    assert tasks_of(collect(world, session, received=3)) == tasks[3:5]


def test_an_answer_that_is_larger_than_the_bound_comes_alone() -> None:
    world = World(Limits(max_reply_bytes=1))
    session = world.open_session()
    world.submit(session=session)
    world.fail(world.take())
    task = world.run(session=session)

    assert len(collect(world, session)) == 1
    assert tasks_of(collect(world, session, received=1)) == [task]


def test_the_end_takes_over_what_was_handed_out(world: World, session: SessionId) -> None:
    tasks = runs(world, session)
    collect(world, session)
    world.do(world.machine.sessions.end(world.now, session))

    assert [world.state(task) for task in tasks] == [None] * 3


def test_a_client_can_take_over_without_asking_for_more(world: World, session: SessionId) -> None:
    tasks = runs(world, session)
    collect(world, session)
    collect(world, session, taken_over=3, count=0)

    assert [world.state(task) for task in tasks] == [None] * 3


def test_after_a_termination_what_is_there_comes_and_then_the_news(world: World, session: SessionId) -> None:
    (task,) = runs(world, session, 1)
    world.do(world.machine.terminate(world.now))

    assert tasks_of(collect(world, session)) == [task]
    step = world.machine.sessions.collect(world.now, session, count=1, taken_over=1, caller="client")
    assert isinstance(world.do(step), TaskManagerTermination)
    assert world.state(task) is None


# --- failures -----------------------------------------------------------------------------------


def failed(world: World, session: SessionId) -> TaskNumber:
    """A failure that was delivered, and taken over."""
    task = world.submit(session=session)
    world.fail(world.take())
    (delivered,) = collect(world, session)
    collect(world, session, taken_over=delivered.delivery)
    return task


def test_a_failure_of_a_session_is_kept_for_a_while(world: World, session: SessionId) -> None:
    task = failed(world, session)
    keep_s = world.machine.limits.keep_failed_ns / SECOND
    world.pass_time(keep_s, ns=-1)
    assert world.state(task) is State.FAILED
    world.pass_time(ns=1)

    assert world.state(task) is None


def test_a_failure_is_kept_from_its_end_on_also_over_a_restart(world: World, session: SessionId) -> None:
    task = failed(world, session)
    keep_s = world.machine.limits.keep_failed_ns / SECOND
    world.pass_time(keep_s - 1)
    restart(world)
    assert world.state(task) is State.FAILED
    world.pass_time(1)

    assert world.state(task) is None


def test_a_kept_failure_can_be_retried_and_its_new_answer_is_delivered(
    world: World, session: SessionId
) -> None:
    task = failed(world, session)
    assert world.do(world.machine.retry(world.now, task))
    world.succeed(world.take())

    (delivered,) = collect(world, session, taken_over=1)
    assert (delivered.answer.task, delivered.delivery) == (task, 2)
    assert isinstance(delivered.answer.outcome, Success)


def test_the_oldest_failures_go_when_there_are_too_many() -> None:
    world = World(Limits(max_kept_failures=2))
    session = world.open_session()
    tasks = [failed_one(world, session, number) for number in range(1, 4)]

    assert [world.state(task) for task in tasks] == [None, State.FAILED, State.FAILED]


def failed_one(world: World, session: SessionId, delivery: int) -> TaskNumber:
    task = world.submit(session=session)
    world.fail(world.take())
    collect(world, session)
    collect(world, session, taken_over=delivery)
    return task


def test_a_failure_of_the_public_session_is_not_kept(world: World) -> None:
    task = world.submit()
    world.fail(world.take())
    world.collect()

    assert world.state(task) is None


def test_kept_failures_end_with_their_session(world: World, session: SessionId) -> None:
    task = failed(world, session)
    world.do(world.machine.sessions.end(world.now, session))

    assert world.state(task) is None


def test_a_kept_failure_can_be_forgotten(world: World, session: SessionId) -> None:
    task = failed(world, session)
    assert world.do(world.machine.forget(world.now, task))

    assert world.state(task) is None


def test_a_collect_that_arrives_late_does_not_displace_the_one_over_a_newer_connection(
    world: World, session: SessionId
) -> None:
    old, new = world.connect(), world.connect()
    park(world, session, "new", connection=new)
    step = world.machine.sessions.collect(world.now, session, count=1, connection=old, caller="old")

    assert isinstance(world.do(step), Refused)
    task = world.run(session=session)
    assert [one.answer.task for one in world.answers["new"]] == [task]


def test_no_two_open_sessions_have_the_same_name(world: World) -> None:
    step = world.machine.sessions.open(world.now, "mine")
    first = world.do(step)
    with pytest.raises(Refused, match=f"session {first} is named 'mine'"):
        world.machine.sessions.open(world.now, "mine")
    world.do(world.machine.sessions.end(world.now, first))

    assert world.do(world.machine.sessions.open(world.now, "mine")) != first


def test_two_that_wait_in_a_session_are_both_told_of_its_end(world: World, session: SessionId) -> None:
    world.park_for_answer("one", session=session)
    gone = world.park_for_answer("gone", session=session)
    world.park_for_answer("two", session=session)
    world.machine.withdraw(world.now, gone)
    world.do(world.machine.sessions.end(world.now, session))

    assert {caller: type(answer) for caller, answer in world.answers.items()} == {
        "one": SessionExpired,
        "two": SessionExpired,
    }


def test_the_end_of_a_session_leaves_the_tasks_of_others_alone(world: World, session: SessionId) -> None:
    other = world.open_session()
    tasks = [world.submit(), world.submit(session=other), world.submit(session=other, key="k")]
    world.submit(session=session)
    world.do(world.machine.sessions.end(world.now, session))

    assert list(world.machine.state.tasks) == tasks


def test_a_keyed_answer_that_was_taken_over_outlives_its_session(world: World, session: SessionId) -> None:
    task = world.run(session=session, key="k")
    collect(world, session)
    collect(world, session, taken_over=1)
    world.do(world.machine.sessions.end(world.now, session))

    assert world.state(task) is State.SUCCEEDED
