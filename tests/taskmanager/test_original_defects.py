"""The defects of the original module that a task manager can have: one test each.

``tests/test_original_defects.py`` names the tests for the others.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from pyrotask.errors import UnknownProcess
from tests.taskmanager.houses import Background, House, ask, eventually, in_background, parked, refusal


def test_return_to_the_front_in_one_of_two_indexes_only(tm: Any) -> None:
    for tag in ("a", "b"):
        for _ in range(2):
            tm.addTaskRequest(tag, None)
    for task_id in ("a_0", "a_1", "b_2"):
        assert tm.getAnyTask()[0] == task_id
    tm.returnTask("a_1")
    tm.returnTask("b_2")
    assert tm.getAnyTask()[0] == "b_2"
    assert tm.getTaskWithTag("a")[0] == "a_1"


def test_a_list_shortened_while_it_is_iterated_in_unregister(tm: Any) -> None:
    process = tm.registerProcess()
    ids = [tm.addTaskRequest("t", None) for _ in range(7)]
    for _ in ids:
        tm.getAnyTask(process)
    tm.unregisterProcess(process)
    assert tm.numberOfTasks()[:2] in (({"t": 7}, {"t": 0}), [{"t": 7}, {"t": 0}])
    assert [tm.getAnyTask()[0] for _ in ids] == ids


def test_a_late_repeated_or_unknown_result_blocks_for_ever(tm: Any, house: House) -> None:
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    tm.storeResult("t_0", 1)
    tm.getAnyResult()

    def hand_in(task_id: str) -> None:
        house.client().storeResult(task_id, 2)

    Background(hand_in, "t_0").result()
    with refusal("UnknownTask", KeyError):
        Background(hand_in, "t_7").result()


def test_an_error_between_acquire_and_release_leaves_the_lock_held(tm: Any, house: House) -> None:
    with refusal("UnknownLabel", KeyError):
        tm.retrieveData("missing")

    def other() -> int:
        number: int = house.client().registerProcess()
        return number

    assert Background(other).result() == 0


def test_process_0_is_no_process(tm: Any) -> None:
    tm.registerProcess()
    tm.addTaskRequest("t", None)
    tm.getAnyTask(0)
    tm.unregisterProcess(0)
    assert tm.getAnyTask()[0] == "t_0"


def test_process_info_by_position(tm: Any) -> None:
    tm.registerProcess(info="zero")
    tm.registerProcess(info="one")
    tm.unregisterProcess(0)
    assert tm.activeProcessInfo(1) == "one"


def test_a_watchdog_that_sleeps_60_s(tm: Any) -> None:
    process = tm.registerProcess(0.05)
    before = time.monotonic()
    eventually(lambda: tm.numberOfActiveProcesses() == 0)
    assert time.monotonic() - before < 10
    assert process == 0


def test_a_watchdog_that_accepts_the_ping_of_a_dead_process(tm: Any) -> None:
    process = tm.registerProcess(0.05)
    eventually(lambda: tm.numberOfActiveProcesses() == 0)
    assert tm.ping(process) is False
    assert tm.numberOfActiveProcesses() == 0


def test_a_watchdog_that_reads_a_dict_outside_its_lock(local: House) -> None:
    tm = local.client()

    def come_and_go() -> None:
        for _ in range(200):
            with contextlib.suppress(UnknownProcess):
                tm.unregisterProcess(tm.registerProcess(0.001))
            tm.registerProcess(0.001)

    busy = [Background(come_and_go) for _ in range(4)]
    for one in busy:
        one.result()
    eventually(lambda: tm.numberOfActiveProcesses() == 0)


def test_everybody_is_woken_on_every_add(local: House) -> None:
    waiting = [in_background(local, "getAnyTask") for _ in range(20)]
    local.client().addTaskRequest("t", None)
    assert waiting[0].result()[0] == "t_0"
    assert parked(local) == 19
    assert all(call.is_waiting for call in waiting[1:])


def test_every_take_searches_the_whole_list(local: House) -> None:
    tm = local.client()

    def seconds_for_100_tasks_behind(others: int) -> float:
        for _ in range(others):
            tm.addTaskRequest("other", None)
        for _ in range(100):
            tm.addTaskRequest("mine", None)
        before = time.perf_counter()
        for _ in range(100):
            tm.returnTask(tm.getTaskWithTag("mine")[0])
            tm.storeResult(tm.getTaskWithTag("mine")[0], None)
        return time.perf_counter() - before

    few, many = seconds_for_100_tasks_behind(10), seconds_for_100_tasks_behind(5_000)
    assert many < 10 * few + 0.5


def test_tags_are_never_forgotten(local: House) -> None:
    tm = local.client()
    for k in range(100):
        tm.addTaskRequest(f"tag{k}", None)
        tm.storeResult(tm.getAnyTask()[0], None)
        tm.getAnyResult()
    assert tm.numberOfTasks() == ({}, {}, {})
    assert ask(local, lambda m, _: (len(list(m.state.waiting)), len(list(m.state.finished)))) == (0, 0)


def test_an_unpicklable_result_or_exception_kills_the_slave_and_then_the_next_one(local: House) -> None:
    tm = local.client()
    tm.addTaskRequest("t", None)
    tm.getAnyTask()
    with refusal("PayloadError", ValueError, "generator"):
        tm.storeResult("t_0", (k for k in range(3)))
    tm.storeException("t_0", RuntimeError(k for k in range(3)), "the story")
    with refusal("TaskRaisedException", Exception, "generator", "the story"):
        tm.getAnyResult()
