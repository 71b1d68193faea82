"""What travels between whom (SEMANTICS, section 4): in process, and plain proxies."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pyrotask.core.explain import explain
from pyrotask.errors import PayloadError
from tests.taskmanager.houses import House, RemoteHouse, ask, in_background, refusal

SERIALIZERS = ["serpent", "json", "msgpack", "marshal"]


class Thing:
    """Not plain."""

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_plain_parameters_and_results_travel_with_each_serializer(
    remote: RemoteHouse, serializer: str
) -> None:
    tm = remote.speaking(serializer)
    tm.addTaskRequest("t", {"a": [1, 2.5, "x", None, True]})
    assert tm.getAnyTask()[2] == {"a": [1, 2.5, "x", None, True]}
    tm.storeResult("t_0", ["done", 3])
    assert tm.getAnyResult()[2] == ["done", 3]


def test_every_call_works_with_each_serializer(remote: RemoteHouse) -> None:
    for serializer in remote.serializers:
        tm = remote.speaking(serializer)
        process = tm.registerProcess(60.0, serializer)
        assert tm.ping(process)
        assert tm.activeProcessInfo(process) == serializer
        tm.addTaskRequest("t", 1, process)
        tm.returnTask(tm.getTaskWithTag("t", process)[0])
        task_id = tm.getAnyTask(process)[0]
        assert [counts["t"] for counts in tm.numberOfTasks()] == [0, 1, 0]
        tm.storeException(task_id, "a reason", "")
        with refusal("TaskRaisedException", Exception, "a reason"):
            tm.getResultWithTag("t")
        tm.storeData(label=1)
        assert tm.retrieveData("label") == 1
        tm.deleteData("label")
        tm.unregisterProcess(process)
        assert tm.numberOfActiveProcesses() == 0


def test_bytes_from_a_proxy_are_bytes_to_a_caller_in_process(remote: RemoteHouse) -> None:
    for serializer in ("serpent", "msgpack"):
        remote.speaking(serializer).addTaskRequest("t", (b"\x00\xff", [b"x"]))
        parameters = remote.manager.getAnyTask()[2]
        assert list(parameters) == [b"\x00\xff", [b"x"]]


def test_tuples_stay_tuples_with_serpent(remote: RemoteHouse) -> None:
    tm = remote.client()
    tm.addTaskRequest("t", (1, (2, 3)))
    assert tm.getAnyTask()[2] == (1, (2, 3))


def test_what_in_process_callers_put_in_comes_out_as_another_object(local: House) -> None:
    tm = local.client()
    parameters = {"list": [1, 2]}
    tm.addTaskRequest("t", parameters)
    parameters["list"].append(3)
    received = tm.getAnyTask()[2]
    assert received == {"list": [1, 2]}
    received["list"].append(4)
    tm.returnTask("t_0")
    assert tm.getAnyTask()[2] == {"list": [1, 2]}


def test_any_object_travels_in_process(local: House) -> None:
    tm = local.client()
    tm.addTaskRequest("t", (Thing(3), lambda x: x + 1))
    thing, add_1 = tm.getAnyTask()[2]
    tm.storeResult("t_0", Thing(add_1(thing.number)))
    assert tm.getAnyResult()[2].number == 4


def test_plain_values_in_process_are_read_by_a_plain_slave(remote: RemoteHouse) -> None:
    remote.manager.addTaskRequest("t", [1, date(2026, 11, 22)])
    assert remote.client().getAnyTask()[2] == [1, "2026-11-22"]  # as serpent has it


def test_a_pickled_task_is_never_offered_to_a_plain_slave(remote: RemoteHouse) -> None:
    plain, manager = remote.client(), remote.manager
    plain.registerProcess()
    manager.addTaskRequest("t", Thing(1))
    manager.addTaskRequest("t", "plain")
    assert plain.getAnyTask(0)[0] == "t_1"
    with refusal("TimeoutError", TimeoutError):
        plain.getTaskWithTag("t", 0, timeout=0)
    assert manager.getAnyTask()[0] == "t_0"


def test_a_pickled_task_that_only_plain_slaves_could_take_is_explained(remote: RemoteHouse) -> None:
    plain = remote.client()
    plain.registerProcess()
    with refusal("TimeoutError", TimeoutError):
        plain.getAnyTask(0, timeout=0)
    remote.manager.addTaskRequest("t", Thing(1))
    [explanation] = ask(remote, explain)
    assert "plain" in explanation.sentence


def test_a_result_that_plain_masters_cannot_read_is_refused_and_stays(remote: RemoteHouse) -> None:
    plain, manager = remote.client(), remote.manager
    manager.addTaskRequest("t", None)
    manager.getAnyTask()
    manager.storeResult("t_0", Thing(7))
    with refusal("PayloadError", ValueError, "t_0", "stays"):
        plain.getAnyResult()
    assert manager.getAnyResult()[2].number == 7


def test_a_result_that_plain_masters_cannot_read_does_not_hold_up_those_behind_it(
    remote: RemoteHouse,
) -> None:
    plain, manager = remote.client(), remote.manager
    for result in (Thing(7), "plain"):
        number = manager.addTaskRequest("t", None)
        manager.getAnyTask()
        manager.storeResult(number, result)
    with refusal("PayloadError", ValueError, "t_0", "stays"):
        plain.getResultWithTag("t")
    assert plain.getAnyResult() == ("t_1", "t", "plain")
    with refusal("TimeoutError", TimeoutError):
        plain.getAnyResult(timeout=0)
    assert manager.getResultWithTag("t")[1].number == 7


def test_a_slave_in_process_has_to_store_plain_values_for_a_plain_master(remote: RemoteHouse) -> None:
    plain, manager = remote.client(), remote.manager
    plain.addTaskRequest("t", None)
    manager.getAnyTask()
    with pytest.raises(PayloadError, match=r"the result of t_0, .*\[1\]: .*Thing"):
        manager.storeResult("t_0", ["plain", Thing(7)])
    manager.storeResult("t_0", 7)
    assert plain.getAnyResult() == ("t_0", "t", 7)


def test_a_waiting_plain_master_is_told_of_a_result_it_cannot_read(remote: RemoteHouse) -> None:
    remote.manager.addTaskRequest("t", None)
    waiting = in_background(remote, "getAnyResult")
    remote.manager.getAnyTask()
    remote.manager.storeResult("t_0", Thing(7))
    with refusal("PayloadError", ValueError, "t_0"):
        waiting.result()
    assert remote.manager.getAnyResult()[2].number == 7


@pytest.mark.parametrize(("serializer", "value"), [("json", 1 + 2j), ("json", b"x"), ("msgpack", {1: 2})])
def test_a_result_that_the_serializer_cannot_carry_is_refused_and_stays(
    remote: RemoteHouse, serializer: str, value: object
) -> None:
    manager = remote.manager
    manager.addTaskRequest("t", None)
    manager.getAnyTask()
    manager.storeResult("t_0", value)
    tm = remote.speaking(serializer)
    for _ in range(2):
        with refusal("PayloadError", ValueError, "result", serializer):
            tm.getAnyResult()
    assert manager.getAnyResult()[2] == value


def test_parameters_that_the_serializer_cannot_carry_are_refused_and_the_task_stays_first(
    remote: RemoteHouse,
) -> None:
    manager = remote.manager
    manager.addTaskRequest("t", 1 + 2j)
    manager.addTaskRequest("t", 1)
    tm = remote.speaking("json")
    with refusal("PayloadError", ValueError, "parameters", "complex"):
        tm.getAnyTask()
    assert manager.getAnyTask()[:2] == ("t_0", "t")


def test_data_that_a_plain_client_cannot_read_is_refused_and_stays(remote: RemoteHouse) -> None:
    remote.manager.storeData(thing=Thing(1))
    with refusal("PayloadError", ValueError, "plain"):
        remote.client().retrieveData("thing")
    assert remote.manager.retrieveData("thing").number == 1


def test_an_exception_of_a_class_that_nobody_else_knows_reaches_a_plain_master(remote: RemoteHouse) -> None:
    class Odd(Exception):
        pass

    plain = remote.client()
    plain.addTaskRequest("t", None)
    remote.manager.getAnyTask()
    remote.manager.storeException("t_0", Odd("really", 1), "")
    with refusal("TaskRaisedException", RuntimeError, "really") as caught:
        plain.getAnyResult()
    assert caught.value.exception_type == "Odd"  # type: ignore[attr-defined]
    assert plain.numberOfActiveProcesses() == 0  # its connection lives on


@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("several", [ValueError(1), TypeError(2)]),
        ValueError(ValueError("inner")),
        ValueError([ValueError("inner")]),
        ValueError(b"bytes", float("nan")),
        KeyError(1 + 2j),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ValueError("x" * 100_000),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_every_exception_reaches_a_plain_master_in_some_form(
    remote: RemoteHouse, serializer: str, error: BaseException
) -> None:
    tm = remote.speaking(serializer)
    tm.addTaskRequest("t", None)
    remote.manager.getAnyTask()
    remote.manager.storeException("t_0", error, "")
    with refusal("TaskRaisedException", RuntimeError, "t_0") as caught:
        tm.getAnyResult()
    assert caught.value.exception_type == type(error).__name__  # type: ignore[attr-defined]
    assert tm.numberOfActiveProcesses() == 0


def test_an_exception_from_a_plain_slave_is_itself_in_process(remote: RemoteHouse) -> None:
    plain = remote.client()
    remote.manager.addTaskRequest("t", None)
    plain.getAnyTask()
    plain.storeException("t_0", ZeroDivisionError("by zero"), "line 1")
    with refusal("TaskRaisedException", Exception) as caught:
        remote.manager.getAnyResult()
    error: Any = caught.value
    assert (type(error.exception), error.exception.args) == (ZeroDivisionError, ("by zero",))
    assert error.traceback == "line 1"
