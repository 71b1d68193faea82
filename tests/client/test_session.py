"""A session against a broker: submits, answers, cancelling, keys, the end."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
from concurrent.futures import CancelledError, as_completed, wait
from typing import Any, cast

import pytest

from pyrotask import Session
from pyrotask.client.outcomes import RemoteTraceback
from pyrotask.config import Settings
from pyrotask.core.model import Task, TaskNumber
from pyrotask.errors import (
    BrokerNotFound,
    InputFailed,
    KeyConflict,
    PayloadError,
    SessionExpired,
    TaskCancelled,
    TaskManagerTermination,
    UnknownSession,
    UnknownTask,
)
from pyrotask.remote.server import Server
from tests.client.serving import PATIENCE_S, HandWorker, ThreadWorker, serving
from tests.remote.serving import in_thread
from tests.waiting import until


def tasks_at(server: Server) -> dict[TaskNumber, Task]:
    return cast("dict[TaskNumber, Task]", server.task_manager.broker.call(lambda m, _: dict(m.state.tasks)))


# --- answers --------------------------------------------------------------------------------------


def test_a_future_gets_the_value(session: Session, worker: ThreadWorker) -> None:
    assert session.submit("sqrt", 2.0).result(PATIENCE_S) == math.sqrt(2)


def test_each_future_gets_its_own_value(session: Session, worker: ThreadWorker) -> None:
    futures = [session.submit("power", index) for index in range(5000)]
    assert [future.result(PATIENCE_S) for future in futures] == [index**2 for index in range(5000)]


def test_the_standard_library_waits_for_them(session: Session, worker: ThreadWorker) -> None:
    futures = [session.submit("sqrt", index) for index in range(100)]
    assert set(as_completed(futures, PATIENCE_S)) == set(futures)
    assert wait(futures, PATIENCE_S).not_done == set()


def test_a_callback_may_submit(session: Session, worker: ThreadWorker) -> None:
    second: list[Any] = []
    has_come = threading.Event()

    def submit_again(_: object) -> None:
        second.append(session.submit("sqrt", 4.0))
        has_come.set()

    session.submit("sqrt", 2.0).add_done_callback(submit_again)
    assert has_come.wait(PATIENCE_S)
    assert second[0].result(PATIENCE_S) == 2.0


def test_an_exception_is_the_original_with_the_remote_traceback_as_cause(
    session: Session, worker: ThreadWorker
) -> None:
    error = session.submit("sqrt", -1.0).exception(PATIENCE_S)
    assert type(error) is ValueError
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in _result" in str(error.__cause__)


def test_a_future_knows_its_task_once_it_is_taken_on(session: Session, worker: ThreadWorker) -> None:
    future = session.submit("sqrt", 2.0)
    future.result(PATIENCE_S)
    assert (future.task, repr(future)) == (0, "<task sqrt_0: finished>")


def test_arguments_are_copied_when_they_are_submitted(session: Session, by_hand: HandWorker) -> None:
    numbers = [1, 2]
    future = session.submit("sum", numbers)
    numbers.append(3)
    (task,) = by_hand.take()
    by_hand.answer(task, None)
    future.result(PATIENCE_S)
    assert task[3] == ["plain", [b"\x92\xc7\x00\x00\x92\x01\x02"]]


def test_options_travel_with_the_task(session: Session, server: Server) -> None:
    session.submit("a", priority=3, retries=2, time_limit_s=1.5, retry_only=["OSError"], max_crashes=0)
    assert session.flush(PATIENCE_S)
    (task,) = tasks_at(server).values()
    options = task.options
    assert (options.priority, options.retry.retries, options.retry.only) == (3, 2, ("OSError",))
    assert (options.time_limit_ns, options.max_crashes) == (1_500_000_000, 0)


# --- what is refused --------------------------------------------------------------------------------


def test_what_cannot_travel_is_refused_at_once(session: Session) -> None:
    with pytest.raises(PayloadError, match="cannot be pickled"):
        session.submit("sqrt", threading.Lock())


def test_what_is_larger_than_a_message_is_refused_at_once(server: Server) -> None:
    with (
        Session(server.address, settings=Settings(max_message_bytes=1 << 20)) as session,
        pytest.raises(PayloadError, match="max_message_bytes"),
    ):
        session.submit("sqrt", bytes(1 << 20))


def test_what_is_larger_than_the_brokers_messages_fails_alone() -> None:
    with (
        serving(Settings(max_message_bytes=1 << 20)) as server,
        ThreadWorker(server.address, {"sqrt": math.sqrt}),
        Session(server.address) as session,
    ):
        large, small = session.submit("sqrt", bytes(2 << 20)), session.submit("sqrt", 4.0)
        assert "the message is too large" in str(large.exception(PATIENCE_S))
        assert small.result(PATIENCE_S) == 2.0


def test_one_that_is_refused_does_no_harm_to_the_others(session: Session, worker: ThreadWorker) -> None:
    session.flush()
    futures = [session.submit("sqrt", 4.0, retries=-1 if index == 37 else 0) for index in range(100)]
    errors = [future.exception(PATIENCE_S) for future in futures]
    assert [index for index, error in enumerate(errors) if error is not None] == [37]
    assert "retries" in str(errors[37])


def test_a_full_broker_delays_and_refuses_nothing() -> None:
    with (
        serving(Settings(max_waiting=10)) as server,
        Session(server.address) as session,
        ThreadWorker(server.address, {"sqrt": math.sqrt}, at_once=1),
    ):
        futures = [session.submit("sqrt", 4.0) for _ in range(100)]
        assert {future.result(PATIENCE_S) for future in futures} == {2.0}


def test_a_submit_waits_while_too_much_is_unsent(
    session: Session, worker: ThreadWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrotask.client.state.MOST_UNSENT", 1)
    futures = [session.submit("sqrt", 4.0) for _ in range(100)]
    assert {future.result(PATIENCE_S) for future in futures} == {2.0}


# --- cancelling -------------------------------------------------------------------------------------


def test_a_waiting_task_is_cancelled(session: Session, server: Server) -> None:
    future = session.submit("sqrt", 2.0)
    assert session.flush(PATIENCE_S)
    assert future.cancel()
    assert future.cancel()

    assert wait([future], PATIENCE_S).done == {future}
    with pytest.raises(CancelledError):
        future.result(0)
    assert session.wait(PATIENCE_S)
    until(lambda: len(tasks_at(server)) == 0)


def test_a_task_that_was_not_sent_yet_never_is(session: Session, by_hand: HandWorker) -> None:
    futures = [session.submit("sqrt", index) for index in range(1000)]
    for future in futures[1:]:
        assert future.cancel()
    session.flush()
    by_hand.answer(by_hand.take(1)[0], 0.0)

    assert futures[0].result(PATIENCE_S) == 0.0
    assert session.wait(PATIENCE_S)


def test_a_running_task_is_cancelled_and_its_worker_told(session: Session, by_hand: HandWorker) -> None:
    future = session.submit("sqrt", 2.0)
    (task,) = by_hand.take()
    assert future.cancel()
    assert session.wait(PATIENCE_S)

    assert by_hand.in_vain() == [[task[0], task[2]]]


def test_what_is_done_cannot_be_cancelled(session: Session, worker: ThreadWorker) -> None:
    future = session.submit("sqrt", 4.0)
    assert future.result(PATIENCE_S) == 2.0
    assert not future.cancel()


def test_what_somebody_else_cancels_says_so(session: Session, server: Server) -> None:
    future = session.submit("sqrt", 2.0)
    session.flush()
    server.task_manager.broker.call(lambda m, now: m.cancel(now, TaskNumber(0), "by the operator"))
    error = future.exception(PATIENCE_S)
    assert isinstance(error, TaskCancelled)
    assert str(error) == "task sqrt_0: by the operator"


# --- keys ---------------------------------------------------------------------------------------------


def test_the_same_key_has_one_future_while_it_waits(session: Session, by_hand: HandWorker) -> None:
    one, two = (session.submit("sqrt", 2.0, key="k") for _ in range(2))
    assert one is two
    by_hand.answer(by_hand.take()[0], "done")
    assert one.result(PATIENCE_S) == "done"


def test_the_same_key_with_other_arguments_is_a_conflict(session: Session) -> None:
    session.submit("sqrt", 2.0, key="k")
    with pytest.raises(KeyConflict, match="'k' belongs to"):
        session.submit("sqrt", 3.0, key="k")


def test_a_key_of_others_with_other_arguments_is_the_futures_exception(
    session: Session, server: Server
) -> None:
    with Session(server.address, "other") as other:
        other.submit("sqrt", 2.0, key="k")
        other.close()
    assert isinstance(session.submit("sqrt", 3.0, key="k").exception(PATIENCE_S), KeyConflict)


def test_a_known_key_is_answered_without_computing(server: Server, worker: ThreadWorker) -> None:
    for _ in range(3):
        with Session(server.address) as session:
            futures = [session.submit("sqrt", 4.0, key=f"k{index}") for index in range(100)]
            assert {future.result(PATIENCE_S) for future in futures} == {2.0}
            again = session.submit("sqrt", 4.0, key="k1")
            assert again.result(PATIENCE_S) == 2.0
            assert again.task is not None
            assert again.task < 100


def test_one_can_attach_to_a_key_of_anybody(session: Session, server: Server, worker: ThreadWorker) -> None:
    with Session(server.address) as other:
        theirs = other.submit("sqrt", 2.0, key="k")
        other.flush()
        ours = session.attach("k")
        assert ours.result(PATIENCE_S) == theirs.result(PATIENCE_S) == 2.0**0.5
        assert ours.task == theirs.task
    assert session.attach("k").result(PATIENCE_S) == 2.0**0.5


def test_an_unknown_key_cannot_be_attached_to_and_harms_no_other(
    session: Session, worker: ThreadWorker
) -> None:
    known, unknown = session.submit("sqrt", 4.0, key="known"), session.attach("unknown")
    assert known.result(PATIENCE_S) == 2.0
    with pytest.raises(UnknownTask, match="no task has the key 'unknown'"):
        unknown.result(PATIENCE_S)


def test_a_key_that_is_attached_to_has_one_future(session: Session, by_hand: HandWorker) -> None:
    submitted = session.submit("sqrt", 2.0, key="k")
    assert session.attach("k") is submitted


def test_a_cancelled_key_is_free_again(session: Session, by_hand: HandWorker) -> None:
    first = session.submit("sqrt", 2.0, key="k")
    assert first.cancel()
    second = session.submit("sqrt", 3.0, key="k")
    session.flush()
    first_task = session.submit("sqrt", 4.0, key="sent")
    session.flush()
    first_task.cancel()
    third = session.submit("sqrt", 5.0, key="sent")
    session.flush()
    for task in (*by_hand.take(1), *by_hand.take(1)):
        by_hand.answer(task, "new")

    assert second.result(PATIENCE_S) == third.result(PATIENCE_S) == "new"
    assert session.wait(PATIENCE_S)


# --- inputs -------------------------------------------------------------------------------------------


def test_a_task_runs_when_its_inputs_have_values(session: Session, by_hand: HandWorker) -> None:
    sources = [session.submit("source", index) for index in range(2)]
    total = session.submit("total", inputs=sources)
    session.flush()  # once their answers are collected, they are no inputs any more
    tasks = [*by_hand.take(1), *by_hand.take(1)]
    assert [task[1] for task in tasks] == ["source", "source"]
    for task in tasks:
        by_hand.answer(task, task[0])
    (last,) = by_hand.take()
    by_hand.answer(last, "sum")

    assert len(last[6]) == 2
    assert total.result(PATIENCE_S) == "sum"


def test_an_input_that_was_not_taken_on_fails_what_needs_it(session: Session) -> None:
    source = session.submit("source", retries=-1)
    assert isinstance(session.submit("total", inputs=[source]).exception(PATIENCE_S), InputFailed)


def test_a_callback_that_raises_system_exit_keeps_nobody_elses_answer_from_coming(
    session: Session, by_hand: HandWorker
) -> None:
    futures = [session.submit("a", number) for number in range(5)]
    futures[0].add_done_callback(lambda _: sys.exit(3))
    tasks = [task for _ in futures for task in by_hand.take(1)]
    by_hand.hand_in(*[[task[0], task[2], "value", task[3]] for task in tasks])
    assert [future.result(PATIENCE_S) for future in futures] == [(number,) for number in range(5)]


# --- what is left of an earlier life --------------------------------------------------------------------


def leave_behind(server: Server, count: int) -> None:
    """A session named "campaign" that has submitted so many, and closed."""
    session = Session(server.address, "campaign")
    for index in range(count):
        session.submit("power", index, key="the last" if index == count - 1 else None)
    session.close()


def test_a_named_session_is_taken_up_again(server: Server) -> None:
    leave_behind(server, 100)
    with (
        ThreadWorker(server.address, {"power": lambda index: index**2}),
        Session(server.address, "campaign") as session,
    ):
        answers = sorted(session.results(PATIENCE_S))
    assert [answer.result() for answer in answers] == [index**2 for index in range(100)]
    assert [answer.key for answer in answers] == [None] * 99 + ["the last"]


def test_what_a_reader_has_taken_over_never_comes_again(server: Server, by_hand: HandWorker) -> None:
    leave_behind(server, 10)
    for task in by_hand.take():
        by_hand.answer(task, None)
    second = Session(server.address, "campaign")
    results = second.results(PATIENCE_S)
    seen = [next(results).task for _ in range(4)]
    second._leave(ends=False, in_order=False)  # it dies while it works on the last one

    with Session(server.address, "campaign") as third:
        assert seen[:3] + sorted(answer.task for answer in third.results(PATIENCE_S)) == list(range(10))
    with Session(server.address, "campaign") as fourth:
        assert list(fourth.results(PATIENCE_S)) == []


def test_an_answer_that_its_reader_did_not_get_to_see_for_a_ctrl_c_is_the_next(
    server: Server, by_hand: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_behind(server, 2)
    for task in by_hand.take():
        by_hand.answer(task, None)

    def interrupted(_looking: object) -> None:
        raise KeyboardInterrupt

    with Session(server.address, "campaign") as second:
        with monkeypatch.context() as patch:
            patch.setattr(second, "_keys", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(second.results(PATIENCE_S))
        assert [answer.task for answer in second.results(PATIENCE_S)] == [0, 1]


def test_a_reader_waits_for_what_is_unfinished(server: Server, by_hand: HandWorker) -> None:
    with Session(server.address, "campaign") as first:
        first.submit("sqrt", 4.0)
        first.close()
    with Session(server.address, "campaign") as second:
        with pytest.raises(TimeoutError):
            next(second.results(0.01))
        by_hand.answer(by_hand.take()[0], 2.0)
        assert [answer.value for answer in second.results(PATIENCE_S)] == [2.0]


def test_futures_and_readers_each_get_their_own(server: Server, by_hand: HandWorker) -> None:
    with Session(server.address, "campaign") as first:
        first.submit("old")
        first.close()
    with Session(server.address, "campaign") as second:
        new = second.submit("new")
        for task in (*by_hand.take(1), *by_hand.take(1)):
            by_hand.answer(task, task[1])
        assert new.result(PATIENCE_S) == "new"
        assert [answer.value for answer in second.results(PATIENCE_S)] == ["old"]


def test_a_session_whose_clock_is_behind_is_taken_up_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(server.address, "campaign") as first:
        first.submit("sqrt", 4.0)
        first.close()
    hours_ago_ns = 0
    monkeypatch.setattr(
        "pyrotask.client.numbers.time.time_ns", lambda: 1_600_000_000_000_000_000 - hours_ago_ns
    )
    monkeypatch.setattr("pyrotask.client.sender.AHEAD_S", (1.0, 1e9))
    with Session(server.address, "campaign") as second:
        future = second.submit("sqrt", 9.0)
        assert second.flush(PATIENCE_S)
        assert future.task == 1
        second.close()


# --- the end ----------------------------------------------------------------------------------------------


def test_leaving_the_block_waits_for_the_answers(server: Server, worker: ThreadWorker) -> None:
    with Session(server.address) as session:
        futures = [session.submit("sqrt", 4.0) for _ in range(100)]
    assert all(future.done() and future.result() == 2.0 for future in futures)


def test_an_exception_in_the_block_cancels_what_is_unfinished(server: Server) -> None:
    with pytest.raises(ZeroDivisionError), Session(server.address) as session:  # noqa: PT012
        future = session.submit("sqrt", 4.0)
        session.flush()
        raise ZeroDivisionError
    assert future.cancelled()
    assert len(tasks_at(server)) == 0


def test_a_closed_session_takes_no_more(session: Session) -> None:
    session.close()
    session.close()
    with pytest.raises(SessionExpired, match="closed in this program"):
        session.submit("sqrt", 2.0)


def test_a_named_session_leaves_its_tasks_behind(server: Server) -> None:
    session = Session(server.address, "campaign")
    future = session.submit("sqrt", 4.0)
    session.close()
    assert isinstance(future.exception(), SessionExpired)
    assert len(tasks_at(server)) == 1
    Session(server.address, "campaign").end()
    assert len(tasks_at(server)) == 0


def test_termination_ends_all_futures(session: Session, server: Server) -> None:
    future = session.submit("sqrt", 4.0)
    session.flush()
    server.task_manager.terminate()
    assert isinstance(future.exception(PATIENCE_S), TaskManagerTermination)
    later = session.submit("sqrt", 4.0) if session._state.error is None else None
    assert later is None or isinstance(later.exception(PATIENCE_S), TaskManagerTermination)


def test_a_session_that_was_ended_by_others_says_so(server: Server) -> None:
    session = Session(server.address, "campaign")
    future = session.submit("sqrt", 4.0)
    session.flush()
    Session(server.address, "campaign").end()
    assert isinstance(future.exception(PATIENCE_S), UnknownSession)
    session.close()


def test_no_broker_is_said_at_once() -> None:
    with pytest.raises(BrokerNotFound):
        Session("127.0.0.1:1")


def test_a_forked_child_is_told_to_open_its_own(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()
    with monkeypatch.context() as in_child:
        in_child.setattr("pyrotask.client.session.os.getpid", lambda: parent + 1)
        with pytest.raises(RuntimeError, match="open another"):
            session.submit("sqrt", 2.0)


def test_a_reader_is_told_why_it_waits(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    leave_behind(server, 1)
    with (
        Session(server.address, "campaign", settings=Settings(explain_after_s=0.1)) as session,
        caplog.at_level(logging.WARNING, "pyrotask.client"),
    ):
        reading = in_thread(lambda: list(session.results()))
        until(lambda: caplog.messages)
        session.close()
        assert isinstance(reading(), SessionExpired)
    assert caplog.messages == [
        "1 task tagged power waits; no worker is registered: `pyrotask worker clients` starts one"
    ]


def test_a_wait_explains_itself(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with Session(server.address, settings=Settings(explain_after_s=0.1)) as session:
        session.submit("sqrt", 2.0)
        with caplog.at_level(logging.WARNING, "pyrotask.client"):
            until(lambda: caplog.messages)
        session.close()
    assert caplog.messages == [
        "1 task tagged sqrt waits; no worker is registered: `pyrotask worker clients` starts one"
    ]
