"""Cancel, retry, forget: one task, or all of a selection, and who is told."""

from __future__ import annotations

from typing import Any

import pytest

from pyrotask.core import selection
from pyrotask.core.interventions import NO_MORE
from pyrotask.core.model import Delivery, Kind, Options, RetryPolicy, SessionId, State, TaskNumber
from pyrotask.core.selection import Selection, info_of, select
from tests.core.world import World


@pytest.fixture
def world() -> World:
    return World()


def numbers(world: World, which: Selection, limit: int = 100, after: int = -1) -> list[int]:
    return [task.number for task in select(world.machine.state, which, limit=limit, after=after).tasks]


def cancel_all(world: World, which: Selection, limit: int = 100, after: int = -1) -> Any:
    return world.do(
        world.machine.interventions.cancel_many(world.now, which, "enough", limit=limit, after=after)
    )


def retry_all(world: World, which: Selection) -> Any:
    return world.do(world.machine.interventions.retry_many(world.now, which, limit=100))


def forget_all(world: World, which: Selection, session: SessionId | None = None) -> Any:
    return world.do(world.machine.interventions.forget_many(world.now, which, limit=100, session=session))


# --- choosing -------------------------------------------------------------------------------------


def test_a_selection_that_says_nothing_is_all_tasks_in_their_order(world: World) -> None:
    tasks = [world.submit() for _ in range(3)]

    assert numbers(world, Selection()) == tasks


def test_all_that_a_selection_says_must_be_true(world: World) -> None:
    session = world.open_session()
    both = world.submit("b", session=session)
    world.submit("a", session=session)
    world.submit("b")

    assert numbers(world, Selection(tag="b", session=session)) == [both]


def test_only_the_states_that_are_named_are_chosen(world: World) -> None:
    world.submit()
    runs = world.take()
    world.submit()

    assert numbers(world, Selection(states=frozenset({State.RUNNING, State.FAILED}))) == [runs]


def test_a_session_has_the_tasks_that_it_subscribed_to(world: World) -> None:
    session = world.open_session()
    task = world.submit(key="k")
    world.submit(key="k", session=session)

    assert numbers(world, Selection(session=session)) == [task]


def test_tasks_are_found_by_their_keys(world: World) -> None:
    one, two = world.submit("a", key="k"), world.submit("b", key="l")
    world.submit("a")

    assert numbers(world, Selection(keys=("k", "l", "of nobody"))) == [one, two]
    assert numbers(world, Selection(keys=("k", "l"), tag="b")) == [two]
    assert numbers(world, Selection(keys=("k", "l"), numbers=(one,))) == [one]


def test_a_page_says_where_to_go_on_until_there_is_no_more(world: World) -> None:
    tasks = [world.submit() for _ in range(4)]
    first = select(world.machine.state, Selection(), limit=2)
    second = select(world.machine.state, Selection(), limit=2, after=first.go_on_after or 0)

    assert [task.number for page in (first, second) for task in page.tasks] == tasks
    assert (first.go_on_after, second.go_on_after) == (tasks[1], None)


def test_only_a_stretch_is_looked_through_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "STRETCH", 3)
    tasks = [world.submit(tag) for tag in "aaaaab"]
    first = select(world.machine.state, Selection(tag="b"), limit=10)
    second = select(world.machine.state, Selection(tag="b"), limit=10, after=first.go_on_after or 0)

    assert (first.tasks, first.go_on_after) == ([], tasks[2])
    assert ([task.number for task in second.tasks], second.go_on_after) == ([tasks[5]], None)


def test_numbers_that_are_gone_are_passed_over(world: World) -> None:
    task = world.submit()

    assert numbers(world, Selection(numbers=(TaskNumber(9), task, task))) == [task]
    assert numbers(world, Selection(numbers=(task,)), after=task) == []


def test_with_no_room_in_the_page_it_goes_on_where_it_was(world: World) -> None:
    world.submit()

    assert select(world.machine.state, Selection(), limit=0).go_on_after == -1


# --- telling about a task -------------------------------------------------------------------------


def test_a_task_in_each_state_tells_what_belongs_to_it(world: World) -> None:
    process = world.register()
    policy = Options(retry=RetryPolicy(retries=1))
    runs, fails = world.submit(), world.submit("b", options=policy)
    waits = world.submit("c")
    world.take("a", process=process)
    world.fail(world.take("b", process=process))
    info = {number: info_of(world.machine.state.tasks[number]) for number in (runs, fails, waits)}

    assert (info[runs].process, info[runs].leased_at, info[runs].due_at) == (process, world.now, None)
    assert info[fails].due_at is not None
    assert [end.detail for end in info[fails].story] == ["bad luck"]
    assert (info[waits].process, info[waits].ended, info[waits].unready) == (None, None, 0)


def test_a_failure_tells_why_and_when_it_ended(world: World) -> None:
    task = world.submit(key="k")
    world.cancel(task)
    info = info_of(world.machine.state.tasks[task])

    assert info.ended is not None
    assert (info.ended.detail, info.ended.ended_at) == ("cancelled", world.now)
    assert (info.key, info.delivery) == ("k", Delivery.NONE)


# --- many at once ---------------------------------------------------------------------------------


def test_the_unfinished_of_a_selection_are_cancelled(world: World) -> None:
    done = world.run()
    tasks = [world.submit(), world.submit()]
    world.take()

    assert cancel_all(world, Selection(tag="a")) == (NO_MORE, *tasks)
    assert world.state(done) is State.SUCCEEDED


def test_many_are_cancelled_page_by_page(world: World) -> None:
    tasks = [world.submit() for _ in range(3)]
    go_on, *done = cancel_all(world, Selection(), limit=2)

    assert (go_on, done) == (tasks[1], tasks[:2])
    assert cancel_all(world, Selection(), after=go_on) == (NO_MORE, tasks[2])


def test_what_needs_a_cancelled_value_fails_and_is_not_cancelled_itself(world: World) -> None:
    source = world.submit()
    needs = world.submit(inputs=[source])

    assert cancel_all(world, Selection(tag="a")) == (NO_MORE, source)
    assert world.state(needs) is State.FAILED


def test_what_failed_is_retried_together_and_the_waiting_are_served(world: World) -> None:
    tasks = [world.submit(), world.submit()]
    for _ in tasks:
        world.fail(world.take())
    world.park("slave")

    assert retry_all(world, Selection(states=frozenset({State.FAILED}))) == (NO_MORE, *tasks)
    assert world.answers["slave"][0].task == tasks[0]


def test_only_finished_tasks_are_forgotten_in_number(world: World) -> None:
    done, waits = world.run(), world.submit()

    assert forget_all(world, Selection(tag="a")) == (NO_MORE, done)
    assert world.state(waits) is State.WAITING


def test_what_another_session_awaits_is_not_forgotten(world: World) -> None:
    session, other = world.open_session(), world.open_session()
    task = world.run(session=session)

    assert forget_all(world, Selection(tag="a"), other) == (NO_MORE,)
    assert forget_all(world, Selection(tag="a"), session) == (NO_MORE, task)


def test_forgetting_one_may_take_another_of_the_selection_along(world: World) -> None:
    source = world.run()
    needs = world.submit("b", inputs=[source])
    world.do(world.machine.forget(world.now, source))
    world.succeed(world.take("b"))
    assert world.state(source) is None

    assert forget_all(world, Selection(numbers=(source, needs))) == (NO_MORE, needs)


# --- who works in vain ----------------------------------------------------------------------------


def test_a_worker_is_told_once_of_what_was_cancelled(world: World) -> None:
    worker, task = world.register(kind=Kind.WORKER), world.submit()
    world.take(process=worker)
    world.cancel(task)

    assert world.machine.take_ended(worker) == [(task, 1)]
    assert world.machine.take_ended(worker) == []


def test_a_worker_is_told_that_an_earlier_attempt_has_answered(world: World) -> None:
    first, second = world.register(kind=Kind.WORKER), world.register(kind=Kind.WORKER)
    task = world.submit()
    world.take(process=first)
    world.give_back(task, process=first)
    world.take(process=second)
    world.succeed(task, attempt=1)

    assert world.machine.take_ended(second) == [(task, 2)]
    assert world.machine.take_ended(first) == []


def test_nobody_is_told_of_what_a_plain_process_or_nobody_runs(world: World) -> None:
    plain = world.register()
    tasks = [world.submit(), world.submit()]
    world.take(process=plain)
    world.take()
    for task in tasks:
        world.cancel(task)

    assert world.machine.ended_leases == {}


def test_what_a_worker_was_not_told_goes_with_it(world: World) -> None:
    worker, task = world.register(kind=Kind.WORKER), world.submit()
    world.take(process=worker)
    world.cancel(task)
    world.do(world.machine.unregister(world.now, worker))

    assert world.machine.ended_leases == {}
