"""Blocked requests: served in the order of arrival, and each exactly once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrotask.core.model import SECOND, Answer, Lease, Options
from pyrotask.errors import PayloadError, TaskManagerTermination, UnknownProcess, UnknownSession
from tests.core.world import OBJECT, World


def leased(answer: object) -> list[int]:
    assert isinstance(answer, tuple)
    assert all(isinstance(lease, Lease) for lease in answer)
    return [lease.task for lease in answer]


def test_waiters_are_served_in_the_order_of_arrival() -> None:
    world = World()
    world.park("first")
    world.park("second")
    task = world.submit()

    assert leased(world.answers["first"]) == [task]
    assert "second" not in world.answers


def test_a_waiter_for_any_tag_and_one_for_this_tag_are_served_in_the_order_of_arrival() -> None:
    world = World()
    world.park("any")
    world.park("this", "a")
    world.submit("a")
    world.submit("a")

    assert list(world.answers) == ["any", "this"]


def test_a_task_wakes_nobody_whom_it_does_not_suit() -> None:
    world = World()
    world.park("other", "b")
    world.park("reader", plain_only=True)
    world.submit("a", OBJECT)

    assert not world.answers


def test_a_waiter_gets_the_best_of_several_tasks_that_come_at_once() -> None:
    world = World()
    process = world.register()
    plain, urgent = world.submit(), world.submit("b", options=Options(priority=1))
    world.lease(process=process, count=2)
    world.park("waits")
    world.do(world.machine.unregister(world.now, process))

    assert leased(world.answers["waits"]) == [urgent]
    assert world.waiting() == [plain]


def test_a_returned_task_goes_to_who_waits() -> None:
    world = World()
    task = world.submit()
    world.take()
    world.park("waits")
    world.give_back(task)

    assert leased(world.answers["waits"]) == [task]


def test_a_withdrawn_request_gets_nothing() -> None:
    world = World()
    want = world.park("gone")
    assert world.machine.withdraw(world.now, want)
    task = world.submit()

    assert world.waiting() == [task]
    assert not world.answers


def test_an_answered_request_cannot_be_withdrawn() -> None:
    world = World()
    want = world.park("waits")
    world.submit()

    assert not world.machine.withdraw(world.now, want)


def test_a_killed_idle_slave_does_not_take_the_next_task_with_it() -> None:
    world = World()
    connection = world.connect()
    world.park("killed", connection=connection)
    world.disconnect(connection)
    task = world.submit()

    assert world.take() == task


def test_a_request_times_out_at_its_instant() -> None:
    world = World()
    world.park("waits", timeout_at=world.now + SECOND)
    world.pass_time(1, ns=-1)
    assert not world.answers
    world.pass_time(ns=1)

    assert isinstance(world.answers["waits"], TimeoutError)


def test_a_request_that_was_answered_does_not_time_out() -> None:
    world = World()
    world.park("waits", timeout_at=world.now + SECOND)
    world.submit()
    world.pass_time(2)

    assert leased(world.answers["waits"])


def test_termination_tells_everybody_who_waits_at_once() -> None:
    world = World()
    world.park("for a task")
    world.park_for_answer("for an answer")
    world.do(world.machine.terminate(world.now))

    assert {type(answer) for answer in world.answers.values()} == {TaskManagerTermination}
    assert len(world.answers) == 2


def test_nobody_who_is_told_the_same_shares_the_error_with_others() -> None:
    world = World()
    world.park("one")
    world.park("two")
    world.do(world.machine.terminate(world.now))

    assert world.answers["one"] is not world.answers["two"]


def test_unregistering_a_process_ends_its_requests() -> None:
    world = World()
    process = world.register()
    world.park("its thread", process=process)
    world.do(world.machine.unregister(world.now, process))

    assert isinstance(world.answers["its thread"], UnknownProcess)


def test_an_answer_goes_to_who_waited_longest_for_it() -> None:
    world = World()
    world.park_for_answer("b", tag="b")
    world.park_for_answer("first")
    world.park_for_answer("second")
    task = world.run("a")

    assert list(world.answers) == ["first"]
    assert isinstance(world.answers["first"], Answer)
    assert world.answers["first"].task == task


def test_a_plain_reader_who_waits_is_told_of_a_result_that_it_cannot_read_and_it_stays() -> None:
    world = World()
    task = world.submit()
    world.park_for_answer("plain", plain_only=True)
    world.succeed(world.take(), OBJECT)

    assert isinstance(world.answers["plain"], PayloadError)
    assert world.collected() == task


def test_one_plain_reader_is_told_of_a_result_that_it_cannot_read_and_the_next_in_line_gets_it() -> None:
    world = World()
    task = world.submit()
    for caller, plain_only in (("plain", True), ("patient", True), ("reader", False)):
        world.park_for_answer(caller, plain_only=plain_only)
    world.succeed(world.take(), OBJECT)

    assert isinstance(world.answers["plain"], PayloadError)
    assert world.answers["reader"].task == task
    assert "patient" not in world.answers


def test_the_end_of_a_session_is_told_to_who_waits_for_its_answers() -> None:
    world = World()
    session = world.open_session()
    world.park_for_answer("its client", session=session)
    world.park_for_answer("other")
    world.do(world.machine.sessions.end(world.now, session))

    assert isinstance(world.answers["its client"], UnknownSession)
    assert "other" not in world.answers


TAGS = st.sampled_from("abc")


@given(
    asked=st.lists(st.none() | st.frozensets(TAGS, min_size=1), max_size=12),
    submitted=st.lists(TAGS, max_size=12),
)
def test_each_task_goes_to_the_oldest_request_that_it_suits(
    asked: list[frozenset[str] | None], submitted: list[str]
) -> None:
    world = World()
    for k, tags in enumerate(asked):
        world.park(str(k), *(tags or ()))
    left = list(enumerate(asked))
    for tag in submitted:
        before = set(world.answers)
        world.submit(tag)
        expected = next((want for want in left if want[1] is None or tag in want[1]), None)
        if expected is not None:
            left.remove(expected)
        assert set(world.answers) - before == ({str(expected[0])} if expected else set())


def test_who_waits_gets_a_plain_task_also_when_it_reads_plain_only() -> None:
    world = World()
    world.park("plain", plain_only=True)
    task = world.submit()

    assert leased(world.answers["plain"]) == [task]
