"""Handing answers in, and collecting them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pyrotask.errors import TaskRaisedException
from tests.taskmanager.houses import House, ask, in_background, refusal


def _run(tm: Any, tag: str, value: object) -> str:
    task_id: str = tm.addTaskRequest(tag, None)
    tm.getTaskWithTag(tag)
    tm.storeResult(task_id, value)
    return task_id


# --- storeResult ------------------------------------------------------------------------------


def test_anybody_may_hand_in_the_result_of_a_task_that_was_leased(house: House) -> None:
    taker, other = house.client(), house.client()
    process, stranger = taker.registerProcess(), other.registerProcess()
    taker.addTaskRequest("t", None)
    taker.getAnyTask(process)
    other.ping(stranger)
    other.storeResult("t_0", "theirs")
    assert taker.getAnyResult()[2] == "theirs"


def test_a_result_counts_also_after_the_task_was_returned(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.returnTask("t_0")
    tm.storeResult("t_0", "done after all")
    assert tm.getAnyResult()[2] == "done after all"
    assert tm.numberOfTasks()[0] == {}


def test_the_result_of_a_task_that_was_never_handed_out_is_refused(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    with refusal("NotHolder", Exception, "t_0", "never handed out"):
        tm.storeResult("t_0", 1)


def test_a_second_result_is_ignored_and_counted(house: House) -> None:
    tm = house.client()
    _run(tm, "t", "first")
    tm.storeResult("t_0", "second")
    assert tm.getAnyResult()[2] == "first"
    assert ask(house, lambda m, _: m.state.late_answers) == 1


def test_a_result_for_a_collected_task_is_ignored_and_counted(house: House) -> None:
    tm = house.client()
    _run(tm, "t", "first")
    tm.getAnyResult()
    tm.storeResult("t_0", "late")
    assert ask(house, lambda m, _: m.state.late_answers) == 1
    with refusal("TimeoutError", TimeoutError):
        tm.getAnyResult(timeout=0)


def test_a_result_for_a_number_never_given_out_is_refused(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    with refusal("UnknownTask", KeyError, "1"):
        tm.storeResult("t_1", 1)


@pytest.mark.parametrize("wrong", ["x_0", "t_00", "t_", "_0", "t", "", "t_-1", "t_0x", "t_" + "9" * 40])
def test_an_id_that_was_never_given_out_is_refused(tm: Any, wrong: str) -> None:
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    with refusal("UnknownTask", KeyError, repr(wrong) if len(wrong) < 40 else "t_"):
        tm.storeResult(wrong, 1)
    assert tm.numberOfTasks()[1] == {"t": 1}


def test_an_id_with_leading_zeros_is_refused_when_the_task_is_gone(tm: Any) -> None:
    _run(tm, "t", 1)
    tm.getAnyResult()
    with refusal("UnknownTask", KeyError, "t_000"):
        tm.storeResult("t_000", 1)


# --- storeException ---------------------------------------------------------------------------


def test_an_exception_is_raised_where_the_result_would_have_been_returned(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.storeException("t_0", ValueError("no good"), "Traceback: line 1")
    with refusal("TaskRaisedException", Exception, "t_0", "no good") as caught:
        tm.getAnyResult()
    error: Any = caught.value
    assert (error.task_id, error.tag, error.traceback) == ("t_0", "t", "Traceback: line 1")
    if house.is_remote:
        assert type(error).__name__ == "RuntimeError"
        assert (error.exception, error.exception_type) == ("ValueError: no good", "ValueError")
        assert error.exception_args == ("no good",)
    else:
        assert isinstance(error, TaskRaisedException)
        assert repr(error.exception) == "ValueError('no good')"


def test_an_exception_may_be_any_object(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.storeException("t_0", {"reason": [1, 2]}, "")
    with refusal("TaskRaisedException", Exception) as caught:
        tm.getAnyResult()
    assert caught.value.exception == {"reason": [1, 2]}  # type: ignore[attr-defined]


def test_a_task_that_raised_is_collected_by_that(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.storeException("t_0", ValueError("no"), "")
    with refusal("TaskRaisedException", Exception):
        tm.getResultWithTag("t")
    assert [dict(counts) for counts in tm.numberOfTasks()] == [{}, {}, {}]


def test_an_exception_from_another_process_is_refused(house: House) -> None:
    holder, other = house.client(), house.client()
    running = holder.registerProcess()
    holder.addTaskRequest("t", None)
    holder.getAnyTask(running)
    if house.is_remote:  # in process, nobody can tell who calls
        other.registerProcess()
        with refusal("NotHolder", Exception, "t_0", "process 1", "runs on process 0"):
            other.storeException("t_0", ValueError("not mine"), "")
        with refusal("NotHolder", Exception, "t_0", "process 1", "runs on process 0"):
            other.returnTask("t_0")
    holder.storeResult("t_0", "fine")
    assert holder.getAnyResult()[2] == "fine"


def test_an_exception_of_a_task_that_waits_again_is_refused(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.returnTask("t_0")
    with refusal("NotHolder", Exception, "t_0", "not running"):
        tm.storeException("t_0", ValueError("late"), "")
    assert tm.numberOfTasks()[0] == {"t": 1}


def test_an_exception_after_the_answer_is_ignored_and_counted(house: House) -> None:
    tm = house.client()
    _run(tm, "t", "fine")
    tm.storeException("t_0", ValueError("late"), "")
    assert tm.getAnyResult()[2] == "fine"
    assert ask(house, lambda m, _: m.state.late_answers) == 1


@pytest.mark.slow
def test_a_task_that_raised_runs_again_if_it_may(tm: Any) -> None:
    tm.addTaskRequest("t", None, retries=1)
    tm.getAnyTask()
    tm.storeException("t_0", ValueError("once"), "")
    tm.getAnyTask(timeout=20)  # a second later
    tm.storeResult("t_0", "better")
    assert tm.getAnyResult()[2] == "better"


# --- getAnyResult, getResultWithTag -----------------------------------------------------------


def test_results_come_in_the_order_of_completion(tm: Any) -> None:
    ids = [tm.addTaskRequest("t", None) for _ in range(3)]
    for _ in ids:
        tm.getAnyTask()
    for k in (2, 0, 1):
        tm.storeResult(ids[k], k)
    assert [tm.getAnyResult()[2] for _ in ids] == [2, 0, 1]


def test_a_result_comes_with_its_id_and_tag(tm: Any) -> None:
    _run(tm, "sqrt", 1.5)
    assert tuple(tm.getAnyResult()) == ("sqrt_0", "sqrt", 1.5)


def test_a_result_with_tag_comes_with_its_id(tm: Any) -> None:
    _run(tm, "log", 1)
    _run(tm, "sqrt", 2)
    assert tuple(tm.getResultWithTag("sqrt")) == ("sqrt_1", 2)
    assert tuple(tm.getAnyResult()) == ("log_0", "log", 1)


def test_a_result_is_handed_out_once(tm: Any) -> None:
    _run(tm, "t", 1)
    tm.getAnyResult()
    with refusal("TimeoutError", TimeoutError):
        tm.getAnyResult(timeout=0)
    with refusal("TimeoutError", TimeoutError):
        tm.getResultWithTag("t", timeout=0)


def test_a_get_waits_for_a_result(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    any_result = in_background(house, "getAnyResult")
    with_tag = in_background(house, "getResultWithTag", "u")
    tm.addTaskRequest("u", None)
    for _ in range(2):
        task_id, tag, _ = tm.getAnyTask()
        tm.storeResult(task_id, tag)
    assert tuple(any_result.result()) == ("t_0", "t", "t")
    assert tuple(with_tag.result()) == ("u_1", "u")


def test_an_exception_wakes_the_one_who_waits_for_the_result(house: House) -> None:
    tm = house.client()
    waiting = in_background(house, "getAnyResult")
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.storeException("t_0", ValueError("no"), "")
    with refusal("TaskRaisedException", Exception):
        waiting.result()
    assert [dict(counts) for counts in tm.numberOfTasks()] == [{}, {}, {}]


def test_a_get_of_a_result_gives_up_after_its_timeout(tm: Any) -> None:
    before = time.monotonic()
    with refusal("TimeoutError", TimeoutError, "0.05 s"):
        tm.getResultWithTag("t", timeout=0.05)
    assert time.monotonic() - before >= 0.05


def test_a_cancelled_task_is_raised_as_such(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    ask(house, lambda m, now: m.cancel(now, 0, "not wanted"))
    with refusal("TaskRaisedException", Exception, "not wanted") as caught:
        tm.getAnyResult(timeout=0)
    _is_ended_by(caught.value, "TaskCancelled", house)


def test_a_task_over_its_time_limit_is_raised_as_such(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None, time_limit=0.05)
    tm.getAnyTask()
    with refusal("TaskRaisedException", Exception, "limit of 0.05 s") as caught:
        tm.getAnyResult(timeout=20)
    _is_ended_by(caught.value, "TimeLimitExceeded", house)


def test_a_task_that_has_crashed_too_often_is_raised_as_such(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    for _ in range(3):
        process = tm.registerProcess()
        tm.getAnyTask(process)
        ask(
            house,
            lambda m, now, process=process: m.child_exited(
                now, process, {0: m.state.tasks[0].attempt}, "killed"
            ),
        )
    with refusal("TaskRaisedException", Exception, "killed") as caught:
        tm.getAnyResult(timeout=0)
    _is_ended_by(caught.value, "WorkerCrashed", house)


def _is_ended_by(error: Any, name: str, house: House) -> None:
    if house.is_remote:
        assert error.exception_type == name
    else:
        assert type(error.exception).__name__ == name
