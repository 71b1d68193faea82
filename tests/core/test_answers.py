"""Answers: collected in the order of completion, handed out once, and gone when taken over."""

from __future__ import annotations

import pytest

from pyrotask.core.model import Cause, Delivery, Ended, Limits, Options, RetryPolicy, State, TaskNumber
from pyrotask.errors import PayloadError, QueueFull, TaskManagerTermination, UnknownLabel, UnknownSession
from tests.core.world import ERROR, OBJECT, VALUE, World

# --- collecting -------------------------------------------------------------------------------


def test_answers_are_collected_in_the_order_of_completion() -> None:
    world = World()
    first, second = world.submit("a"), world.submit("b")
    world.lease(count=2)
    world.succeed(second)
    world.succeed(first)

    assert [world.collected(), world.collected(), world.collected()] == [second, first, None]


def test_answers_are_collected_by_tag() -> None:
    world = World()
    world.run("a")
    task = world.run("b")

    assert world.collected(tag="b") == task
    assert world.collected(tag="b") is None


def test_an_answer_is_handed_out_once() -> None:
    world = World()
    world.run()
    assert world.collect(final=False)

    assert world.collect() is None


def test_a_collected_task_is_gone() -> None:
    world = World()
    task = world.run()
    world.collect()

    assert world.state(task) is None


def test_an_answer_that_is_acknowledged_is_gone_and_a_second_time_changes_nothing() -> None:
    world = World()
    task = world.run()
    world.collect(final=False)
    for _ in range(2):
        world.do(world.machine.acknowledge(task))
        assert world.state(task) is None


def test_acknowledging_what_was_not_handed_out_changes_nothing() -> None:
    world = World()
    finished, waits = world.run("b"), world.submit()
    world.do(world.machine.acknowledge(waits))
    world.do(world.machine.acknowledge(finished))

    assert world.collected() == finished


def test_an_answer_that_did_not_arrive_comes_first_again() -> None:
    world = World()
    first, second = world.run(), world.run()
    world.collect(final=False)
    world.do(world.machine.undo_delivery(world.now, first))

    assert [world.collected(), world.collected()] == [first, second]


def test_an_answer_that_did_not_arrive_goes_to_who_waits() -> None:
    world = World()
    task = world.run()
    world.collect(final=False)
    world.park_for_answer("waits")
    world.do(world.machine.undo_delivery(world.now, task))

    assert world.answers["waits"].task == task


@pytest.mark.parametrize("final", [True, False])
def test_undoing_a_delivery_that_is_over_changes_nothing(final: bool) -> None:
    world = World()
    task = world.run()
    world.collect(final=final)
    for _ in range(2):
        world.do(world.machine.undo_delivery(world.now, task))

    assert world.collected() == (None if final else task)


def test_an_error_is_collected_like_a_value() -> None:
    world = World()
    world.submit()
    world.fail(world.take())
    answer = world.collect()

    assert answer is not None
    assert answer.outcome == Ended(Cause.RAISED, "bad luck", ERROR, world.now)


def test_a_cancelled_task_is_collected_with_its_cause() -> None:
    world = World()
    world.cancel(world.submit())
    answer = world.collect()

    assert answer is not None
    assert answer.outcome == Ended(Cause.CANCELLED, "cancelled", None, world.now)


def test_a_result_that_a_plain_master_cannot_read_is_refused_and_stays() -> None:
    world = World()
    task = world.submit()
    world.succeed(world.take(), OBJECT)

    with pytest.raises(PayloadError, match="a Python object that plain Pyro proxies cannot carry"):
        world.collect(plain_only=True)
    assert world.collected() == task


def test_a_plain_master_is_told_once_of_a_result_it_cannot_read_and_gets_those_behind_it() -> None:
    world = World()
    world.submit()
    world.succeed(world.take(), OBJECT)
    behind = [world.run(), world.run()]

    with pytest.raises(PayloadError):
        world.collect(plain_only=True, tag="a")
    assert [world.collected(plain_only=True), world.collected(plain_only=True, tag="a")] == behind
    assert world.collected(plain_only=True) is None


def test_a_result_that_a_plain_master_was_told_about_keeps_its_place_for_all_others() -> None:
    world = World()
    objects = [world.submit() for _ in range(4)]
    for _ in objects:
        world.succeed(world.take(), OBJECT)
    plain = world.run()
    assert world.collected(final=False) == objects[0]
    for _ in objects[1:]:
        with pytest.raises(PayloadError):
            world.collect(plain_only=True)
    world.do(world.machine.undo_delivery(world.now, objects[0]))
    with pytest.raises(PayloadError):
        world.collect(plain_only=True)
    world.replayed()

    assert [world.collected() for _ in range(5)] == [*objects, plain]


def test_a_result_that_was_set_aside_can_be_collected_by_its_tag_and_forgotten() -> None:
    world = World()
    tasks = [world.submit() for _ in range(3)]
    for _ in tasks:
        world.succeed(world.take(), OBJECT)
        with pytest.raises(PayloadError):
            world.collect(plain_only=True)
    world.do(world.machine.forget(world.now, tasks[1]))

    assert [world.collected(tag="a"), world.collected(tag="a")] == [tasks[0], tasks[2]]


def test_a_session_keeps_its_objects_at_their_place_whoever_asks() -> None:
    world = World()
    session = world.open_session()
    task = world.submit(session=session)
    world.succeed(world.take(), OBJECT)
    for _ in range(2):
        with pytest.raises(PayloadError):
            world.collect(session=session, plain_only=True)

    assert world.collected(session=session) == task


def test_an_object_for_a_submitter_that_reads_plain_values_only_is_refused() -> None:
    world = World()
    task = world.submit(options=Options(plain_answer=True))
    world.take()

    with pytest.raises(PayloadError, match="make its result of plain values"):
        world.succeed(task, OBJECT)
    assert world.state(task) is State.RUNNING
    assert world.succeed(task)


def test_a_plain_master_collects_plain_values_and_errors() -> None:
    world = World()
    tasks = [world.run(), world.submit()]
    world.fail(world.take())

    assert [world.collected(plain_only=True), world.collected(plain_only=True)] == tasks


# --- cancelling, forgetting, trying again -----------------------------------------------------


@pytest.mark.parametrize("state", [State.SCHEDULED, State.WAITING, State.RUNNING])
def test_an_unfinished_task_can_be_cancelled(state: State) -> None:
    world = World()
    task = world.submit(due_at=world.now + 9 if state is State.SCHEDULED else None)
    if state is State.RUNNING:
        world.take(process=world.register())
    assert world.state(task) is state

    assert world.cancel(task)
    assert world.state(task) is State.CANCELLED


def test_a_finished_task_cannot_be_cancelled() -> None:
    world = World()
    task = world.run()

    assert not world.cancel(task)
    world.collect()
    assert not world.cancel(task)


def test_a_failed_task_can_be_tried_again_with_its_counters_at_zero_and_its_story_kept() -> None:
    world = World()
    task = world.submit(options=Options(retry=RetryPolicy(retries=1, delay_ns=0)))
    for _ in range(2):
        world.fail(world.take())
        world.pass_time()
    assert world.do(world.machine.retry(world.now, task))
    trouble = world.machine.state.tasks[task].trouble

    assert world.waiting() == [task]
    assert trouble is not None
    assert (trouble.retries, len(trouble.story)) == (0, 2)


def test_a_cancelled_task_can_be_tried_again() -> None:
    world = World()
    world.park("waits")
    task = world.submit("a", due_at=world.now + 1)
    world.cancel(task)
    world.do(world.machine.retry(world.now, task))

    assert world.answers["waits"]


def test_what_succeeded_or_is_unfinished_or_gone_cannot_be_tried_again() -> None:
    world = World()
    succeeded, waits = world.run(), world.submit()
    gone = world.run("b")
    world.collect(tag="b")
    for task in (succeeded, waits, gone):
        assert not world.do(world.machine.retry(world.now, task))


def test_what_was_handed_out_cannot_be_tried_again() -> None:
    world = World()
    task = world.submit()
    world.cancel(task)
    world.collect(final=False)

    assert not world.do(world.machine.retry(world.now, task))


def test_a_task_whose_input_is_gone_cannot_be_tried_again() -> None:
    world = World()
    source = world.run()
    task = world.submit("b", inputs=[source])
    world.cancel(task)
    world.collect(tag="a")

    assert not world.do(world.machine.retry(world.now, task))


def test_a_task_whose_input_failed_is_tried_again_after_its_input_was() -> None:
    world = World()
    source = world.submit()
    task = world.submit("b", inputs=[source])
    world.cancel(source)
    world.do(world.machine.retry(world.now, task))
    assert world.state(task) is State.FAILED
    world.do(world.machine.retry(world.now, source))
    world.do(world.machine.retry(world.now, task))
    assert world.state(task) is State.SCHEDULED
    world.succeed(world.take())

    assert world.waiting() == [task]


@pytest.mark.parametrize("state", ["waiting", "running", "finished", "handed out"])
def test_a_forgotten_task_is_gone_whatever_it_was(state: str) -> None:
    world = World()
    task = world.submit()
    if state != "waiting":
        world.take()
    if state in ("finished", "handed out"):
        world.succeed(task)
    if state == "handed out":
        world.collect(final=False)

    assert world.do(world.machine.forget(world.now, task))
    assert world.state(task) is None
    assert not world.do(world.machine.forget(world.now, task))


def test_a_forgotten_task_stays_hidden_while_its_value_is_needed() -> None:
    world = World()
    source = world.run()
    task = world.submit(inputs=[source])
    for _ in range(2):
        world.do(world.machine.forget(world.now, source))
    assert world.machine.state.tasks[source].delivery is Delivery.ACKNOWLEDGED
    assert world.collect() is None
    world.succeed(world.take())

    assert world.state(source) is None
    assert world.state(task) is State.SUCCEEDED


# --- counting ---------------------------------------------------------------------------------


def test_every_tag_that_has_a_task_is_a_key_of_all_three_counts() -> None:
    world = World()
    world.submit("scheduled", due_at=world.now + 1)
    world.submit("running", options=Options(priority=1))
    world.take()
    world.run("finished", options=Options(priority=1))
    world.submit("waiting")
    waiting, running, finished = world.machine.state.counts()

    assert waiting == {"scheduled": 1, "running": 0, "finished": 0, "waiting": 1}
    assert running == {"scheduled": 0, "running": 1, "finished": 0, "waiting": 0}
    assert finished == {"scheduled": 0, "running": 0, "finished": 1, "waiting": 0}


def test_a_tag_without_tasks_is_forgotten() -> None:
    world = World()
    world.run()
    world.collect()

    assert world.machine.state.counts() == ({}, {}, {})


def test_task_numbers_are_counted_over_all_tags_from_0() -> None:
    world = World()

    assert [world.submit(tag) for tag in "aba"] == [0, 1, 2]


def test_past_max_waiting_a_submit_is_refused_at_once_and_a_return_is_not() -> None:
    world = World(Limits(max_waiting=2))
    first = world.submit()
    world.submit(due_at=world.now + 1)
    with pytest.raises(QueueFull, match="2 tasks wait, and max_waiting is 2"):
        world.submit()
    world.take()
    world.submit()
    world.give_back(first)

    assert world.machine.state.unstarted == 3


def test_a_payload_that_nobody_could_read_is_refused() -> None:
    world = World()

    with pytest.raises(PayloadError, match="nobody could read it"):
        world.submit(payload=VALUE._replace(format="xml"))


# --- termination --------------------------------------------------------------------------------


def test_after_termination_what_is_there_is_handed_out_and_collected_and_nobody_waits() -> None:
    world = World()
    finished, running, waits = world.run(), world.submit(), world.submit()
    world.take()
    world.do(world.machine.terminate(world.now))
    world.do(world.machine.terminate(world.now))

    with pytest.raises(TaskManagerTermination):
        world.submit()
    assert world.take() == waits
    ended = world.do(world.machine.lease(world.now, caller="late"))
    assert isinstance(ended, TaskManagerTermination)
    assert world.collected() == finished
    assert world.succeed(running)
    assert world.collected() == running
    with pytest.raises(TaskManagerTermination):
        world.collect()


# --- sessions -------------------------------------------------------------------------------------


def test_a_tasks_answer_is_delivered_in_its_session_only() -> None:
    world = World()
    mine, other = world.open_session(), world.open_session()
    task = world.submit(session=mine)
    world.succeed(world.take())

    assert world.collect() is None
    assert world.collect(session=other) is None
    assert world.collected(session=mine) == task


def test_a_session_that_is_not_open_is_refused() -> None:
    world = World()
    session = world.open_session()
    world.do(world.machine.sessions.end(world.now, session))

    with pytest.raises(UnknownSession):
        world.submit(session=session)
    with pytest.raises(UnknownSession):
        world.collect(session=session)
    with pytest.raises(UnknownSession):
        world.machine.sessions.end(world.now, session)


def test_the_public_session_cannot_be_ended() -> None:
    world = World()

    with pytest.raises(UnknownSession, match="everybody's"):
        world.machine.sessions.end(world.now, world.machine.state.next_session - 1)  # type: ignore[arg-type]


def test_the_end_of_a_session_takes_its_tasks_along_and_no_others() -> None:
    world = World()
    session, other = world.open_session(), world.submit("other")
    finished = world.submit(session=session)
    world.succeed(world.take("a"))
    needing = world.submit("b", session=session, inputs=[finished])
    world.take("b", process=world.register())
    world.collect(session=session)
    world.submit(session=session, due_at=world.now + 1)
    world.do(world.machine.sessions.end(world.now, session))

    assert set(world.machine.state.tasks) == {other}
    assert not world.succeed(needing)


def test_what_another_session_needs_outlives_its_session() -> None:
    world = World()
    session = world.open_session()
    source = world.run(session=session)
    task = world.submit(inputs=[source])
    world.do(world.machine.sessions.end(world.now, session))

    assert world.take() == task


# --- data -----------------------------------------------------------------------------------------


def test_labels_stored_together_are_seen_and_replaced_together() -> None:
    world = World()
    world.do(world.machine.store_data({"x": VALUE, "y": OBJECT}))
    world.do(world.machine.store_data({"y": VALUE}))

    assert world.machine.retrieve_data("x") == VALUE
    assert world.machine.retrieve_data("y") == VALUE
    assert len(world.events) == 3


def test_deleted_data_is_gone() -> None:
    world = World()
    world.do(world.machine.store_data({"x": VALUE}))
    world.do(world.machine.delete_data("x"))

    with pytest.raises(UnknownLabel):
        world.machine.retrieve_data("x")


def test_a_missing_label_is_refused_and_the_manager_goes_on() -> None:
    world = World()
    with pytest.raises(UnknownLabel, match=r"storeData\(x=...\) first"):
        world.machine.retrieve_data("x")
    with pytest.raises(UnknownLabel):
        world.machine.delete_data("x")

    assert world.run() == TaskNumber(0)
