"""Asking for tasks, taking them, and giving them back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.taskmanager.houses import HOUSES, House, in_background, open_house, refusal

# --- addTaskRequest ---------------------------------------------------------------------------


def test_task_ids_have_one_counter_for_all_tags(tm: Any) -> None:
    assert [tm.addTaskRequest(tag, None) for tag in ("sqrt", "log", "sqrt")] == ["sqrt_0", "log_1", "sqrt_2"]


@pytest.mark.parametrize("tag", [None, 1, b"x", ("t",)])
def test_a_tag_is_a_str(tm: Any, tag: object) -> None:
    with refusal("TypeError", TypeError, "tag"):
        tm.addTaskRequest(tag, None)


def test_a_tag_is_not_empty(tm: Any) -> None:
    with refusal("ValueError", ValueError, "tag"):
        tm.addTaskRequest("", None)


def test_process_0_is_a_process_when_it_asks(tm: Any) -> None:
    tm.registerProcess()
    assert tm.addTaskRequest("t", 1, 0) == "t_0"
    tm.unregisterProcess(0)
    with refusal("UnknownProcess", KeyError, "process 0"):
        tm.addTaskRequest("t", 1, 0)
    assert tm.numberOfTasks()[0] == {"t": 1}


@pytest.mark.parametrize("kind", HOUSES)
def test_past_max_waiting_a_request_is_refused_at_once(kind: str) -> None:
    with open_house(kind, max_waiting=2) as house:
        tm = house.client()
        tm.addTaskRequest("t", 0)
        tm.addTaskRequest("t", 1)
        with refusal("QueueFull", Exception, "max_waiting is 2", "again when some are done"):
            tm.addTaskRequest("t", 2)
        tm.getAnyTask()
        assert tm.addTaskRequest("t", 3) == "t_2"


# --- getAnyTask, getTaskWithTag ---------------------------------------------------------------


def test_tasks_come_first_in_first_out_over_all_tags(tm: Any) -> None:
    ids = [tm.addTaskRequest(tag, None) for tag in "abacb"]
    assert [tm.getAnyTask()[0] for _ in ids] == ids


def test_a_task_comes_with_its_id_tag_and_parameters(tm: Any) -> None:
    tm.addTaskRequest("sqrt", (2.0, "x"))
    assert tuple(tm.getAnyTask()) == ("sqrt_0", "sqrt", (2.0, "x"))


def test_a_task_with_tag_comes_with_its_id_and_parameters(tm: Any) -> None:
    tm.addTaskRequest("log", 1)
    tm.addTaskRequest("sqrt", (2.0,))
    assert tuple(tm.getTaskWithTag("sqrt")) == ("sqrt_1", (2.0,))


def test_the_highest_priority_comes_first(tm: Any) -> None:
    for priority in (0, 5, -3, 5):
        tm.addTaskRequest("t", None, priority=priority)
    assert [tm.getAnyTask()[0] for _ in range(4)] == ["t_1", "t_3", "t_0", "t_2"]


def test_a_returned_task_is_handed_out_first(tm: Any) -> None:
    ids = [tm.addTaskRequest(tag, None) for tag in "abc"]
    tm.getAnyTask()
    tm.returnTask(ids[0])
    assert tm.getAnyTask()[0] == ids[0]


def test_a_returned_task_is_handed_out_first_within_its_tag(tm: Any) -> None:
    tm.addTaskRequest("a", None)
    ids = [tm.addTaskRequest("b", None) for _ in range(3)]
    tm.getTaskWithTag("b")
    tm.returnTask(ids[0])
    assert tm.getTaskWithTag("b")[0] == ids[0]


def test_a_returned_task_comes_after_a_higher_priority(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.addTaskRequest("t", None, priority=1)
    tm.returnTask("t_0")
    assert tm.getAnyTask()[0] == "t_1"


def test_a_get_waits_for_a_task(house: House) -> None:
    waiting = in_background(house, "getAnyTask")
    assert waiting.is_waiting
    house.client().addTaskRequest("t", 1)
    assert tuple(waiting.result()) == ("t_0", "t", 1)


def test_a_get_with_tag_waits_for_that_tag(house: House) -> None:
    tm = house.client()
    waiting = in_background(house, "getTaskWithTag", "b")
    tm.addTaskRequest("a", 1)
    assert waiting.is_waiting
    tm.addTaskRequest("b", 2)
    assert tuple(waiting.result()) == ("b_1", 2)


def test_those_who_wait_are_served_in_the_order_of_arrival(house: House) -> None:
    tm = house.client()
    first = in_background(house, "getAnyTask")
    second = in_background(house, "getTaskWithTag", "a")
    third = in_background(house, "getAnyTask")
    for _ in range(3):
        tm.addTaskRequest("a", None)
    assert [first.result()[0], second.result()[0], third.result()[0]] == ["a_0", "a_1", "a_2"]


def test_a_get_with_timeout_0_polls(tm: Any) -> None:
    with refusal("TimeoutError", TimeoutError, "nothing"):
        tm.getAnyTask(timeout=0)
    with refusal("TimeoutError", TimeoutError, "nothing"):
        tm.getTaskWithTag("t", timeout=0)
    tm.addTaskRequest("t", None)
    assert tm.getAnyTask(timeout=0)[0] == "t_0"


def test_a_get_gives_up_after_its_timeout(tm: Any) -> None:
    before = time.monotonic()
    with refusal("TimeoutError", TimeoutError, "0.05 s"):
        tm.getAnyTask(timeout=0.05)
    assert time.monotonic() - before >= 0.05


def test_a_task_that_comes_after_a_timeout_is_not_lost(tm: Any) -> None:
    with refusal("TimeoutError", TimeoutError):
        tm.getAnyTask(timeout=0.01)
    tm.addTaskRequest("t", None)
    assert tm.getAnyTask(timeout=0)[0] == "t_0"


def test_a_get_for_an_unknown_process_is_refused_and_hands_nothing_out(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    for process in (0, 5):
        with refusal("UnknownProcess", KeyError, f"process {process}"):
            tm.getAnyTask(process)
        with refusal("UnknownProcess", KeyError, f"process {process}"):
            tm.getTaskWithTag("t", process)
    assert tm.numberOfTasks()[0] == {"t": 1}


def test_process_0_is_a_process_when_it_takes(tm: Any) -> None:
    tm.registerProcess()
    tm.addTaskRequest("t", None)
    tm.getAnyTask(0)
    tm.unregisterProcess(0)
    assert tm.numberOfTasks()[0] == {"t": 1}


def test_one_who_has_not_registered_is_served_as_well(tm: Any) -> None:
    tm.addTaskRequest("t", 3)
    task_id, _, number = tm.getAnyTask()
    tm.storeResult(task_id, number + 1)
    assert tuple(tm.getAnyResult()) == ("t_0", "t", 4)


# --- numberOfTasks ----------------------------------------------------------------------------


def test_the_numbers_of_tasks_have_a_key_for_each_tag_that_has_a_task(tm: Any) -> None:
    for tag in ("w", "r", "f"):
        tm.addTaskRequest(tag, None)
    tm.getTaskWithTag("r")
    tm.storeResult(tm.getTaskWithTag("f")[0], None)
    waiting, running, finished = tm.numberOfTasks()
    assert waiting == {"w": 1, "r": 0, "f": 0}
    assert running == {"w": 0, "r": 1, "f": 0}
    assert finished == {"w": 0, "r": 0, "f": 1}


def test_a_task_that_waits_for_its_next_try_counts_as_waiting(tm: Any) -> None:
    tm.addTaskRequest("t", None, retries=1)
    tm.storeException(tm.getAnyTask()[0], ValueError("again"), "")
    assert [counts["t"] for counts in tm.numberOfTasks()] == [1, 0, 0]


def test_a_failed_task_counts_as_finished(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    tm.storeException(tm.getAnyTask()[0], ValueError("no"), "")
    assert [counts["t"] for counts in tm.numberOfTasks()] == [0, 0, 1]


def test_a_collected_task_counts_no_more(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    tm.storeResult(tm.getAnyTask()[0], None)
    tm.getAnyResult()
    assert [dict(counts) for counts in tm.numberOfTasks()] == [{}, {}, {}]


# --- returnTask -------------------------------------------------------------------------------


def test_returning_a_waiting_task_is_ignored(tm: Any) -> None:
    ids = [tm.addTaskRequest("t", None) for _ in range(2)]
    tm.returnTask(ids[1])
    assert [tm.getAnyTask()[0] for _ in ids] == ids


def test_returning_a_finished_task_is_ignored(tm: Any) -> None:
    tm.addTaskRequest("t", None)
    tm.storeResult(tm.getAnyTask()[0], 1)
    tm.returnTask("t_0")
    assert tuple(tm.getAnyResult(timeout=0)) == ("t_0", "t", 1)
    tm.returnTask("t_0")


def test_returning_what_was_never_given_out_is_refused(tm: Any) -> None:
    with refusal("UnknownTask", KeyError, "5"):
        tm.returnTask("t_5")


def test_a_waiting_process_gets_the_returned_task(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    waiting = in_background(house, "getAnyTask")
    tm.returnTask("t_0")
    assert waiting.result()[0] == "t_0"
