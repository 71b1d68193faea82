"""Registering, leaving, pinging: SEMANTICS of the reference's first six calls."""

from __future__ import annotations

from typing import Any

import pytest

from tests.taskmanager.houses import House, in_background, refusal


def test_process_ids_are_0_1_2(tm: Any) -> None:
    assert [tm.registerProcess(), tm.registerProcess(60.0), tm.registerProcess(info="x")] == [0, 1, 2]


def test_a_process_id_is_never_used_again(tm: Any) -> None:
    tm.unregisterProcess(tm.registerProcess())
    assert tm.registerProcess() == 1


@pytest.mark.parametrize("period", [0, -1, 0.0, float("nan"), float("inf"), 1e300])
def test_a_watchdog_period_is_greater_than_0_and_finite(tm: Any, period: float) -> None:
    with refusal("ValueError", ValueError, "watchdog_period", "greater than 0"):
        tm.registerProcess(period)
    assert tm.numberOfActiveProcesses() == 0


def test_unregistering_puts_the_running_tasks_in_front_in_their_old_order(tm: Any) -> None:
    leaving, staying = tm.registerProcess(), tm.registerProcess()
    ids = [tm.addTaskRequest("t", k) for k in range(4)]
    for _ in range(3):
        tm.getAnyTask(leaving)
    tm.unregisterProcess(leaving)
    assert [tm.getAnyTask(staying)[0] for _ in range(4)] == ids


def test_unregistering_counts_no_crash_and_no_loss(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    for _ in range(20):
        process = tm.registerProcess()
        tm.getAnyTask(process)
        tm.unregisterProcess(process)
    assert tm.numberOfTasks()[0]["t"] == 1


def test_unregistering_twice_is_refused(tm: Any) -> None:
    process = tm.registerProcess()
    tm.unregisterProcess(process)
    with refusal("UnknownProcess", KeyError, "process 0"):
        tm.unregisterProcess(process)


def test_unregistering_a_stranger_is_refused(tm: Any) -> None:
    tm.registerProcess()
    with refusal("UnknownProcess", KeyError, "process 7", "active: 0", "registerProcess"):
        tm.unregisterProcess(7)
    assert tm.numberOfActiveProcesses() == 1


def test_ping_says_whether_the_process_is_registered(tm: Any) -> None:
    process = tm.registerProcess(60.0)
    assert tm.ping(process) is True
    assert tm.ping(99) is False


def test_ping_never_resurrects(tm: Any) -> None:
    process = tm.registerProcess(60.0)
    tm.unregisterProcess(process)
    assert tm.ping(process) is False
    assert tm.numberOfActiveProcesses() == 0
    assert tm.ping(process) is False


def test_the_active_processes_are_counted_the_master_included(tm: Any) -> None:
    master = tm.registerProcess(info="the master")
    tm.registerProcess()
    assert tm.numberOfActiveProcesses() == 2
    tm.unregisterProcess(master)
    assert tm.numberOfActiveProcesses() == 1


def test_process_info_goes_by_id_and_not_by_position(tm: Any) -> None:
    processes = [tm.registerProcess(info=f"host{k}") for k in range(3)]
    tm.unregisterProcess(processes[0])
    assert tm.activeProcessInfo(processes[1]) == "host1"
    assert tm.activeProcessInfo(processes[2]) == "host2"


def test_process_info_of_a_stranger_names_the_active_ids(tm: Any) -> None:
    for _ in range(3):
        tm.registerProcess()
    tm.unregisterProcess(1)
    with refusal("UnknownProcess", KeyError, "process 1", "0, 2"):
        tm.activeProcessInfo(1)


def test_a_process_without_info_has_an_empty_one(tm: Any) -> None:
    assert tm.activeProcessInfo(tm.registerProcess()) == ""


def test_the_active_processes_are_listed(tm: Any) -> None:
    for _ in range(3):
        tm.registerProcess()
    tm.unregisterProcess(1)
    assert tm.activeProcesses() == [0, 2]


def test_a_waiting_process_that_is_unregistered_is_told(house: House) -> None:
    tm = house.client()
    process = tm.registerProcess()
    waiting = in_background(house, "getAnyTask", process)
    tm.unregisterProcess(process)
    with refusal("UnknownProcess", KeyError, "process 0 has unregistered"):
        waiting.result()
