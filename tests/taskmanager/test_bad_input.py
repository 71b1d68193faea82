"""Bad input, one by one: the error says what, which, and what to do; the manager is as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.taskmanager.houses import House, image, in_background, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG_TYPES: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "a period that is text": (lambda tm: tm.registerProcess("5"), ("watchdog_period", "str")),
    "a period that is a bool": (lambda tm: tm.registerProcess(True), ("watchdog_period", "bool")),
    "an info that is no text": (lambda tm: tm.registerProcess(None, 5), ("info", "int")),
    "a process id that is text": (lambda tm: tm.unregisterProcess("0"), ("process id", "str")),
    "a process id that is a float": (lambda tm: tm.ping(0.0), ("process id", "float")),
    "a process id that is a bool": (lambda tm: tm.ping(False), ("process id", "bool")),
    "a process id that is None": (lambda tm: tm.activeProcessInfo(None), ("process id", "NoneType")),
    "a tag that is None": (lambda tm: tm.addTaskRequest(None, 1), ("tag", "NoneType")),
    "a tag that is a list": (lambda tm: tm.getTaskWithTag(["t"]), ("tag", "list")),
    "a result tag that is a number": (lambda tm: tm.getResultWithTag(3), ("tag", "int")),
    "a requesting process that is text": (lambda tm: tm.addTaskRequest("t", 1, "0"), ("process id", "str")),
    "a taking process that is text": (lambda tm: tm.getAnyTask("0"), ("process id", "str")),
    "a timeout that is text": (lambda tm: tm.getAnyTask(timeout="1"), ("timeout", "str")),
    "a timeout that is a bool": (lambda tm: tm.getAnyResult(timeout=True), ("timeout", "bool")),
    "a task id that is a number": (lambda tm: tm.storeResult(0, 1), ("task id", "int", "sqrt_17")),
    "a task id that is None": (lambda tm: tm.returnTask(None), ("task id", "NoneType")),
    "a failed task's id that is a list": (lambda tm: tm.storeException([], "e", ""), ("task id", "list")),
    "a traceback that is no text": (
        lambda tm: tm.storeException("t_0", "e", None),
        ("traceback", "NoneType"),
    ),
    "a label that is a number": (lambda tm: tm.retrieveData(1), ("label", "int")),
    "a label that is a list": (lambda tm: tm.deleteData([1]), ("label", "list")),
    "a priority that is a float": (lambda tm: tm.addTaskRequest("t", 1, priority=1.5), ("priority", "float")),
    "retries that are text": (lambda tm: tm.addTaskRequest("t", 1, retries="2"), ("retries", "str")),
    "a time limit that is text": (
        lambda tm: tm.addTaskRequest("t", 1, time_limit="2"),
        ("time_limit", "str"),
    ),
}

WRONG_VALUES: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "a period of 0": (lambda tm: tm.registerProcess(0), ("watchdog_period", "greater than 0", "0")),
    "a negative period": (lambda tm: tm.registerProcess(-2.5), ("watchdog_period", "-2.5")),
    "a period that is no number": (lambda tm: tm.registerProcess(float("inf")), ("watchdog_period", "inf")),
    "a period of more than a life": (lambda tm: tm.registerProcess(1e12), ("watchdog_period", "at most")),
    "an empty tag": (lambda tm: tm.addTaskRequest("", 1), ("tag", "empty")),
    "an empty tag to take": (lambda tm: tm.getTaskWithTag(""), ("tag", "empty")),
    "a negative timeout": (lambda tm: tm.getAnyTask(timeout=-1), ("timeout", "-1")),
    "a priority past all bounds": (
        lambda tm: tm.addTaskRequest("t", 1, priority=10**30),
        ("priority", "at most"),
    ),
    "negative retries": (lambda tm: tm.addTaskRequest("t", 1, retries=-1), ("retries", "at least 0")),
    "a time limit of 0": (
        lambda tm: tm.addTaskRequest("t", 1, time_limit=0),
        ("time_limit", "greater than 0"),
    ),
}

UNKNOWN: dict[str, tuple[Callable[[Any], object], str, tuple[str, ...]]] = {
    "a process to unregister": (
        lambda tm: tm.unregisterProcess(7),
        "UnknownProcess",
        ("7", "registerProcess"),
    ),
    "a negative process": (lambda tm: tm.unregisterProcess(-1), "UnknownProcess", ("-1",)),
    "a huge process": (lambda tm: tm.unregisterProcess(10**50), "UnknownProcess", ("10000",)),
    "a process to ask about": (lambda tm: tm.activeProcessInfo(7), "UnknownProcess", ("7", "active")),
    "a process that asks": (lambda tm: tm.addTaskRequest("t", 1, 7), "UnknownProcess", ("7",)),
    "a process that takes": (lambda tm: tm.getAnyTask(7), "UnknownProcess", ("7",)),
    "a task with a result": (lambda tm: tm.storeResult("t_9", 1), "UnknownTask", ("9",)),
    "a task that raised": (lambda tm: tm.storeException("t_9", "e", ""), "UnknownTask", ("9",)),
    "a task to return": (lambda tm: tm.returnTask("t_9"), "UnknownTask", ("9",)),
    "a task by its number": (lambda tm: tm.returnTask("0"), "UnknownTask", ("'0'", "sqrt_17")),
    "a task of another tag": (lambda tm: tm.returnTask("u_0"), "UnknownTask", ("'u_0'", "'t_0'")),
    "a label": (lambda tm: tm.retrieveData("gone"), "UnknownLabel", ("'gone'", "storeData")),
    "a label to delete": (lambda tm: tm.deleteData("gone"), "UnknownLabel", ("'gone'",)),
}


def _in_use(house: House) -> Any:
    """A client of a manager that has something of everything."""
    tm = house.client()
    tm.registerProcess(60.0, "somebody")
    for _ in range(3):
        tm.addTaskRequest("t", [1])
    tm.getAnyTask(0)
    tm.storeResult(tm.getAnyTask()[0], 1)
    tm.storeData(there=1)
    return tm


@pytest.mark.parametrize("what", WRONG_TYPES)
def test_a_wrong_type_is_refused(house: House, what: str) -> None:
    tm = _in_use(house)
    before = image(house)
    call, words = WRONG_TYPES[what]
    with refusal("TypeError", TypeError, *words):
        call(tm)
    assert image(house) == before


@pytest.mark.parametrize("what", WRONG_VALUES)
def test_a_wrong_value_is_refused(house: House, what: str) -> None:
    tm = _in_use(house)
    before = image(house)
    call, words = WRONG_VALUES[what]
    with refusal("ValueError", ValueError, *words):
        call(tm)
    assert image(house) == before


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_unknown_is_refused(house: House, what: str) -> None:
    tm = _in_use(house)
    before = image(house)
    call, name, words = UNKNOWN[what]
    with refusal(name, KeyError, *words):
        call(tm)
    assert image(house) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda tm, value: tm.addTaskRequest("t", value),
        lambda tm, value: tm.storeResult("t_0", value),
        lambda tm, value: tm.storeData(label=value),
    ],
    ids=["parameters", "a result", "data"],
)
def test_a_value_that_cannot_be_pickled_is_refused(
    local: House, call: Callable[[Any, object], object]
) -> None:
    tm = _in_use(local)
    before = image(local)
    with refusal("PayloadError", ValueError, "generator", "cannot be pickled"):
        call(tm, (k for k in range(3)))
    assert image(local) == before


def test_text_with_half_characters_is_no_tag(local: House) -> None:
    tm = local.client()
    with refusal("ValueError", ValueError, "surrogates"):
        tm.addTaskRequest("\ud800", 1)
    with refusal("ValueError", ValueError, "surrogates"):
        tm.registerProcess(info="\ud800")


def test_too_many_or_too_few_arguments_are_refused(house: House) -> None:
    tm = house.client()
    for method, arguments in (("addTaskRequest", ("t",)), ("ping", ()), ("terminate", (1,))):
        with refusal("TypeError", TypeError, "argument"):
            getattr(tm, method)(*arguments)


def test_a_timeout_that_never_ends_is_no_timeout(local: House) -> None:
    tm = local.client()
    for timeout in (float("inf"), 1e300, 10**400):
        waiting = in_background(local, "getAnyTask", None, timeout)
        tm.addTaskRequest("t", None)
        waiting.result()
