"""Tasks that need the values of others."""

from __future__ import annotations

import pytest

from pyrotask.core.model import SECOND, Cause, Options, Payload, RetryPolicy, State, TaskNumber
from pyrotask.errors import UnknownTask
from tests.core.world import OBJECT, VALUE, World


def values(*names: str) -> tuple[Payload, ...]:
    return tuple(Payload("plain", (name.encode(),)) for name in names)


def test_a_task_runs_when_all_its_inputs_have_succeeded_and_gets_their_values_in_order() -> None:
    world = World()
    one, two = world.submit(), world.submit()
    task = world.submit("b", inputs=[two, one, two])
    for name, source in zip("xy", (one, two), strict=True):
        assert world.state(task) is State.SCHEDULED
        world.take()
        world.succeed(source, values(name)[0])
    (lease,) = world.lease()

    assert (lease.task, lease.inputs) == (task, values("y", "x"))


def test_a_task_whose_inputs_have_succeeded_already_waits_at_once() -> None:
    world = World()
    task = world.submit(inputs=[world.run()])

    assert world.waiting() == [task]


def test_an_input_that_was_collected_is_refused() -> None:
    world = World()
    source = world.run()
    world.collect()

    with pytest.raises(UnknownTask, match=f"input task {source} is not there"):
        world.submit(inputs=[source])
    assert world.machine.state.next_task == 1


def test_a_collected_input_stays_for_as_long_as_it_is_needed() -> None:
    world = World()
    source = world.run()
    task = world.submit(inputs=[source])
    assert world.collected() == source
    assert world.state(source) is State.SUCCEEDED
    world.succeed(world.take())

    assert world.state(source) is None
    assert world.state(task) is State.SUCCEEDED


def test_an_input_waits_for_the_last_task_that_needs_it() -> None:
    world = World()
    source = world.run()
    one, two = world.submit(inputs=[source]), world.submit(inputs=[source])
    world.collect()
    world.lease(count=2)
    world.succeed(one)
    assert world.state(source) is State.SUCCEEDED
    world.succeed(two)

    assert world.state(source) is None


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_a_task_fails_with_its_input(end: str) -> None:
    world = World()
    source = world.submit()
    task = world.submit(inputs=[source])
    world.take()
    getattr(world, end)(source)

    assert world.ended(task).cause is Cause.INPUT_FAILED
    assert world.ended(task).detail == f"its input, task a_{source}, ended without a value"


def test_a_chain_and_a_diamond_fail_from_their_beginning() -> None:
    world = World()
    top = world.submit()
    left, right = world.submit(inputs=[top]), world.submit(inputs=[top])
    bottom = world.submit(inputs=[left, right])
    world.cancel(top)

    assert {world.state(task) for task in (left, right, bottom)} == {State.FAILED}


def test_a_task_submitted_with_a_failed_input_fails_at_once() -> None:
    world = World()
    source = world.submit()
    world.cancel(source)
    task = world.submit(inputs=[source, world.submit()], due_at=world.now + SECOND)
    world.pass_time(2)

    assert world.state(task) is State.FAILED


def test_a_failed_task_lets_its_collected_inputs_go() -> None:
    world = World()
    source, other = world.run(), world.submit()
    world.submit(inputs=[source, other])
    world.collect()
    world.cancel(other)

    assert world.state(source) is None


def test_several_that_fail_together_let_the_input_go_that_they_share() -> None:
    world = World()
    shared, bad = world.run(), world.submit("bad")
    tasks = [world.submit(inputs=[shared, bad]) for _ in range(2)]
    world.collect()
    world.fail(world.take("bad"))

    assert [world.state(task) for task in tasks] == [State.FAILED] * 2
    assert shared not in world.machine.state.tasks


def test_an_input_that_is_tried_again_does_not_fail_the_task() -> None:
    world = World()
    source = world.submit(options=Options(retry=RetryPolicy(retries=1, delay_ns=0)))
    task = world.submit(inputs=[source])
    world.fail(world.take())

    assert world.state(task) is State.SCHEDULED


@pytest.mark.parametrize("first", ["due", "ready"])
def test_a_task_with_an_instant_and_inputs_waits_for_both(first: str) -> None:
    world = World()
    source = world.submit()
    task = world.submit(inputs=[source], due_at=world.now + SECOND)
    if first == "due":
        world.pass_time(1)
    else:
        world.succeed(world.take())
    assert world.state(task) is State.SCHEDULED
    if first == "due":
        world.succeed(world.take())
    else:
        world.pass_time(1)

    assert world.waiting() == [task]


def test_a_task_with_an_input_that_only_python_reads_is_not_offered_to_a_plain_reader() -> None:
    world = World()
    source = world.submit()
    world.succeed(world.take(), OBJECT)
    task = world.submit(inputs=[source])

    assert world.lease(plain_only=True) == ()
    assert world.take() == task


def test_an_unknown_input_is_refused() -> None:
    world = World()

    with pytest.raises(UnknownTask):
        world.submit(payload=VALUE, inputs=[TaskNumber(0)])
