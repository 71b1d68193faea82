"""When a task that raised runs again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrotask.core.model import SECOND, Cause, Options, RetryPolicy, State, TaskNumber
from pyrotask.core.retry import retry_at
from tests.core.world import ERROR, World

EXACT = RetryPolicy(retries=5, delay_ns=SECOND, jitter=0.0)
TASK = TaskNumber(17)


def test_the_delay_doubles_with_each_retry() -> None:
    assert [retry_at(EXACT, 0, TASK, k, ()) for k in range(4)] == [SECOND * 2**k for k in range(4)]


def test_the_delay_has_a_maximum() -> None:
    assert retry_at(EXACT._replace(max_delay_ns=3 * SECOND), 0, TASK, 4, ()) == 3 * SECOND


def test_after_the_last_retry_the_task_has_failed() -> None:
    assert retry_at(EXACT, 0, TASK, 5, ()) is None


@pytest.mark.parametrize(("delay_ns", "expected"), [(SECOND, 600 * SECOND), (0, 0)])
def test_a_delay_that_no_float_can_hold_is_the_maximum(delay_ns: int, expected: int) -> None:
    policy = EXACT._replace(retries=10**6, delay_ns=delay_ns, factor=1e300)

    assert retry_at(policy, 0, TASK, 5000, ()) == expected


def test_a_policy_for_certain_errors_covers_their_subclasses_and_no_others() -> None:
    policy = EXACT._replace(only=("ConnectionError",))

    assert retry_at(policy, 0, TASK, 0, ("BrokenPipeError", "ConnectionError", "OSError")) is not None
    assert retry_at(policy, 0, TASK, 0, ("ValueError", "Exception")) is None


def test_a_policy_for_certain_errors_does_not_cover_the_time_limit() -> None:
    assert retry_at(EXACT._replace(only=("Exception",)), 0, TASK, 0, None) is None
    assert retry_at(EXACT, 0, TASK, 0, None) is not None


@given(
    task=st.integers(0, 10**9),
    retries=st.integers(0, 4),
    jitter=st.floats(0, 1),
    now=st.integers(0, 10**18),
)
def test_jitter_spreads_the_delay_by_its_share_and_always_by_the_same(
    task: int, retries: int, jitter: float, now: int
) -> None:
    policy = EXACT._replace(jitter=jitter)
    at = retry_at(policy, now, TaskNumber(task), retries, ())
    delay = SECOND * 2**retries

    assert at is not None
    assert delay * (1 - jitter) - 1 <= at - now <= delay * (1 + jitter) + 1
    assert at == retry_at(policy, now, TaskNumber(task), retries, ())


def test_jitter_parts_tasks_that_failed_together() -> None:
    policy = EXACT._replace(jitter=0.1)

    assert len({retry_at(policy, 0, TaskNumber(n), 0, ()) for n in range(100)}) > 95


# --- in the machine ---------------------------------------------------------------------------


def test_a_task_that_raised_runs_again_after_its_delay() -> None:
    world = World()
    task = world.submit(options=Options(retry=EXACT))
    world.fail(world.take())
    world.pass_time(1, ns=-1)
    assert world.state(task) is State.SCHEDULED
    world.pass_time(ns=1)
    (lease,) = world.lease()

    assert (lease.task, lease.attempt) == (task, 2)


def test_a_task_that_raised_once_too_often_has_failed() -> None:
    world = World()
    task = world.submit(options=Options(retry=EXACT._replace(retries=1)))
    world.fail(world.take())
    world.pass_time(1)
    world.fail(world.take())

    assert world.ended(task).failure == ERROR


def test_a_task_that_ran_too_long_runs_again_by_its_policy() -> None:
    world = World()
    task = world.submit(options=Options(retry=EXACT, time_limit_ns=10 * SECOND))
    world.take()
    world.pass_time(10)
    assert world.state(task) is State.SCHEDULED
    world.pass_time(1)

    assert world.waiting() == [task]


def test_a_task_that_waits_for_its_retry_can_still_succeed() -> None:
    world = World()
    task = world.submit(options=Options(retry=EXACT))
    world.fail(world.take())

    assert world.succeed(task)
    world.pass_time(100)
    assert world.state(task) is State.SUCCEEDED


def test_without_a_policy_a_task_that_raised_has_failed() -> None:
    world = World()
    task = world.submit()
    world.fail(world.take())

    assert world.ended(task).cause is Cause.RAISED


def test_a_task_is_due_at_the_instant_that_it_was_submitted_for() -> None:
    world = World()
    task = world.submit(due_at=world.now + SECOND)
    world.park("waits")
    world.pass_time(1, ns=-1)
    assert world.state(task) is State.SCHEDULED
    world.pass_time(ns=1)

    assert world.answers["waits"]


def test_a_task_that_is_due_in_the_past_waits_at_once() -> None:
    world = World()
    task = world.submit(due_at=world.now)

    assert world.waiting() == [task]
