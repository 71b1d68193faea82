"""Keys: the same key is the same task, and each session that submits it gets the answer."""

from __future__ import annotations

from typing import Any

import pytest

from pyrotask.core.machine import Machine
from pyrotask.core.model import PUBLIC, Delivery, Limits, NewTask, SessionId, State, TaskNumber
from pyrotask.errors import KeyConflict, QueueFull, UnknownTask
from tests.core.world import OBJECT, VALUE, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def one(world: World) -> SessionId:
    return world.open_session()


@pytest.fixture
def two(world: World) -> SessionId:
    return world.open_session()


def collected(world: World, session: SessionId, taken_over: int = 0) -> list[TaskNumber]:
    step = world.machine.sessions.collect(world.now, session, count=9, taken_over=taken_over)
    return [delivered.answer.task for delivered in world.do(step)]


def keyed(world: World, session: SessionId = PUBLIC, **options: Any) -> TaskNumber:
    return world.submit(key="the key", session=session, **options)


def test_a_known_key_is_the_task_that_is_there(world: World, one: SessionId, two: SessionId) -> None:
    assert keyed(world, one) == keyed(world, two) == keyed(world, one)
    assert len(world.waiting()) == 1


def test_what_a_key_stands_for_can_be_submitted_without_knowing_it(
    world: World, one: SessionId, two: SessionId
) -> None:
    task = keyed(world, one)
    item = world.machine.keyed("the key")
    assert item == NewTask("a", VALUE, key="the key")
    assert world.do(world.machine.submit_many(world.now, (item,), session=two)) == (task,)
    with pytest.raises(UnknownTask, match="no task has the key 'another'"):
        world.machine.keyed("another")


def test_every_session_that_submitted_the_key_gets_the_answer_once(
    world: World, one: SessionId, two: SessionId
) -> None:
    task = keyed(world, one)
    keyed(world, two)
    keyed(world)
    world.succeed(world.take())

    assert collected(world, one) == collected(world, two) == [task]
    assert world.collected() == task
    assert collected(world, one, 1) == collected(world, two, 1) == []
    assert world.collect() is None


def test_who_comes_late_gets_the_answer_that_is_there(world: World, one: SessionId, two: SessionId) -> None:
    task = keyed(world, one)
    world.succeed(world.take())
    collected(world, one)
    keyed(world, two)

    assert collected(world, two) == [task]


def test_who_waits_for_an_answer_is_told_when_the_key_has_one(world: World, one: SessionId) -> None:
    task = keyed(world)
    world.succeed(world.take())
    step = world.machine.sessions.collect(world.now, one, count=1, caller="client")
    world.do(step)
    keyed(world, one)

    assert world.answers["client"][0].answer.task == task


def test_a_parked_subscriber_is_told_when_the_task_ends(world: World, one: SessionId) -> None:
    keyed(world)
    keyed(world, one)
    world.do(world.machine.sessions.collect(world.now, one, count=1, caller="client"))
    world.succeed(world.take())

    assert world.answers["client"][0].answer.task == 0


def test_the_same_session_can_ask_again_after_it_took_the_answer_over(world: World, one: SessionId) -> None:
    task = keyed(world, one)
    world.succeed(world.take())
    assert collected(world, one) == [task]
    assert collected(world, one, 1) == []
    keyed(world, one)

    assert collected(world, one, 1) == [task]


def test_a_submit_after_the_answer_was_handed_out_gets_it_once_more(
    world: World, one: SessionId, two: SessionId
) -> None:
    task = keyed(world, one)
    keyed(world, two)
    world.succeed(world.take())
    for session in (one, two):
        collected(world, session)
        keyed(world, session)
        assert collected(world, session, 1) == [task]


@pytest.mark.parametrize(("tag", "payload"), [("b", VALUE), ("a", OBJECT)])
def test_the_same_key_with_another_tag_or_payload_is_a_conflict(world: World, tag: str, payload: Any) -> None:
    keyed(world)
    with pytest.raises(KeyConflict, match="'the key' belongs to a task with another"):
        world.submit(tag, payload, key="the key")


def test_a_key_can_stand_twice_in_one_submit(world: World) -> None:
    twice = [NewTask("a", VALUE, key="k")] * 2
    assert world.do(world.machine.submit_many(world.now, twice)) == (0, 0)
    with pytest.raises(KeyConflict):
        world.machine.submit_many(world.now, [NewTask(tag, VALUE, key="l") for tag in "ab"])


def test_keyed_tasks_are_bounded() -> None:
    world = World(Limits(max_keyed=1))
    keyed(world)
    with pytest.raises(QueueFull, match="max_keyed"):
        world.submit(key="another")
    keyed(world)  # a known one needs no room


def test_a_keyed_task_stays_until_it_is_forgotten(world: World, one: SessionId) -> None:
    task = keyed(world, one)
    world.succeed(world.take())
    collected(world, one)
    collected(world, one, 1)
    assert world.state(task) is State.SUCCEEDED
    assert world.do(world.machine.forget(world.now, task))

    assert world.state(task) is None
    assert keyed(world, one) != task


def test_forgetting_takes_the_claims_of_others_along(world: World, one: SessionId, two: SessionId) -> None:
    task = keyed(world, one)
    keyed(world, two)
    world.do(world.machine.forget(world.now, task))

    assert collected(world, one) == collected(world, two) == []


def test_a_keyed_value_that_is_still_needed_cannot_be_forgotten(world: World) -> None:
    task = keyed(world)
    world.succeed(world.take())
    world.submit("b", inputs=[task])

    assert not world.do(world.machine.forget(world.now, task))


def test_the_end_of_a_session_leaves_its_keyed_tasks_to_whoever_comes(
    world: World, one: SessionId, two: SessionId
) -> None:
    task = keyed(world, one)
    world.do(world.machine.sessions.end(world.now, one))
    world.succeed(world.take())
    assert keyed(world, two) == task

    assert collected(world, two) == [task]


def test_the_end_of_a_subscribers_session_ends_its_claim_only(
    world: World, one: SessionId, two: SessionId
) -> None:
    task = keyed(world, one)
    keyed(world, two)
    world.do(world.machine.sessions.end(world.now, two))
    world.succeed(world.take())

    assert collected(world, one) == [task]


def test_the_end_of_a_session_without_a_claim_changes_nothing(
    world: World, one: SessionId, two: SessionId
) -> None:
    task = keyed(world, one)
    world.succeed(world.take())
    world.do(world.machine.sessions.end(world.now, two))

    assert collected(world, one) == [task]


def test_a_retry_goes_to_all_that_have_not_had_the_answer_yet(
    world: World, one: SessionId, two: SessionId
) -> None:
    task = keyed(world, one)
    keyed(world, two)
    world.cancel(task)
    assert world.do(world.machine.retry(world.now, task))
    world.succeed(world.take())

    assert collected(world, one) == collected(world, two) == [task]


def test_a_task_whose_session_has_ended_is_retried_for_nobody(world: World, one: SessionId) -> None:
    task = keyed(world, one)
    world.cancel(task)
    world.do(world.machine.sessions.end(world.now, one))
    assert world.do(world.machine.retry(world.now, task))
    world.succeed(world.take())

    assert world.machine.state.tasks[task].delivery is Delivery.ACKNOWLEDGED


def test_what_is_handed_out_to_anybody_is_not_retried(world: World, one: SessionId, two: SessionId) -> None:
    task = keyed(world, one)
    keyed(world, two)
    world.cancel(task)
    collected(world, two)

    assert not world.do(world.machine.retry(world.now, task))


def test_keys_and_claims_survive_a_restart(world: World, one: SessionId, two: SessionId) -> None:
    task = keyed(world, one)
    keyed(world, two)
    world.succeed(world.take())
    collected(world, two)
    world.machine = Machine(state=world.replayed())
    world.do(world.machine.start(world.now, "test"))

    assert collected(world, one) == collected(world, two) == [task]
    assert keyed(world) == task
