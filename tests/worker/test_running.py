"""Whatever a task does is an answer of the task."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pyrotask import payload
from pyrotask.core.model import Failure, Payload
from pyrotask.remote.bulk_values import results_from_wire
from pyrotask.worker import running


class Point(NamedTuple):
    x: float
    y: float


def run(
    function: Callable[..., Any], parameters: Any = (), *, plain_answer: bool = False
) -> Payload | Failure:
    encoded = payload.encode(parameters)
    return run_payload(function, encoded, plain_answer=plain_answer)


def run_payload(
    function: Callable[..., Any], encoded: Payload, *, plain_answer: bool = False
) -> Payload | Failure:
    wire = [17, "tag", 2, [encoded.format, list(encoded.buffers)], plain_answer, None, []]
    (result,) = results_from_wire([running.run(running.Assigned.from_wire(wire), {"tag": function})])
    assert (result.task, result.attempt) == (17, 2)
    outcome = result.value or result.failure
    assert outcome is not None
    return outcome


def value_of(outcome: Payload | Failure) -> Any:
    assert isinstance(outcome, Payload), outcome
    return payload.decode(outcome)


def failure_of(outcome: Payload | Failure) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


def test_a_tuple_is_the_arguments() -> None:
    assert value_of(run(lambda x, y: x - y, (5, 3))) == 2


@pytest.mark.parametrize("parameters", [7, [1, 2], {"x": 1}, None, "text"])
def test_anything_else_is_the_one_argument(parameters: Any) -> None:
    assert value_of(run(lambda x: x, parameters)) == parameters


def test_a_named_tuple_is_one_argument() -> None:
    assert value_of(run(lambda p: p.x, Point(1.0, 2.0))) == 1.0


def test_what_a_task_raises_is_its_answer() -> None:
    def boom() -> None:
        raise ValueError("no such atom")

    failure = failure_of(run(boom))
    assert (failure.type_names[0], failure.message) == ("ValueError", "ValueError: no such atom")


def test_the_traceback_begins_in_the_tasks_own_code() -> None:
    def boom() -> None:
        raise ValueError("no such atom")

    text = failure_of(run(boom)).traceback
    assert "in boom" in text
    assert running.__file__ not in text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_exceptions_that_end_programs_are_answers_too(kind: type[BaseException]) -> None:
    def end() -> None:
        raise kind

    assert failure_of(run(end)).type_names[0] == kind.__name__


class Insolent(Exception):
    def __str__(self) -> str:
        raise SystemExit("told")

    def __reduce__(self) -> str:
        raise KeyboardInterrupt


def raise_insolent() -> None:
    raise Insolent


def raise_one_of_an_insolent_class() -> None:
    class Class(type):
        def __getattribute__(cls, name: str) -> Any:
            raise KeyboardInterrupt

    class OfInsolentClass(Exception, metaclass=Class):
        pass

    raise OfInsolentClass


@pytest.mark.parametrize("boom", [raise_insolent, raise_one_of_an_insolent_class])
def test_an_exception_that_raises_when_it_is_told_is_an_answer_too(boom: Callable[[], None]) -> None:
    assert "Insolent" in failure_of(run(boom)).message


def leave(code: object) -> None:
    sys.exit(code)  # type: ignore[arg-type]


def fall_through(_: object) -> None:
    pass


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("then", "given", "code"),
    [(leave, 7, 7), (leave, None, 0), (leave, "no atom", 1), (int, "no number", 1), (fall_through, 0, 0)],
)
def test_a_process_that_a_task_forks_ends_where_the_task_does_and_is_no_second_worker(
    then: Callable[[Any], object], given: Any, code: int
) -> None:
    worker = os.getpid()

    def fork() -> int | None:
        forked = os.fork()
        if forked:
            return os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])
        then(given)
        return None

    outcome = run(fork)
    if os.getpid() != worker:
        os._exit(99)  # not a second test run, in any case
    assert value_of(outcome) == code


def test_a_wrong_number_of_arguments_is_told_with_the_name_of_the_handler() -> None:
    def distance(x: float, y: float) -> float:
        return x - y

    assert "distance() missing 1 required positional argument" in failure_of(run(distance, (1,))).message


def test_a_result_that_cannot_be_pickled_is_told() -> None:
    assert "cannot be pickled" in failure_of(run(threading.Lock)).message


def test_an_exception_that_cannot_travel_arrives_with_its_name_and_text() -> None:
    class StubbornError(Exception):
        def __reduce__(self) -> str:
            raise TypeError("not me")

    def boom() -> None:
        raise StubbornError("stay here")

    failure = failure_of(run(boom))
    assert failure.type_names[0].endswith("StubbornError")
    assert "stay here" in str(payload.decode_error(failure))


def test_an_answer_for_a_plain_client_must_be_plain_and_the_error_names_the_type() -> None:
    message = failure_of(run(lambda: Point(1.0, 2.0), plain_answer=True)).message
    assert "Point" in message


def test_parameters_that_cannot_be_decoded_name_what_is_missing() -> None:
    nowhere = Payload("pickle", (b"cno_such_module\nname\n.",))
    assert "no_such_module" in failure_of(run_payload(lambda x: x, nowhere)).message


def test_a_result_that_no_message_can_carry_becomes_an_error_that_says_what_to_do() -> None:
    large = [17, 2, "value", ["plain", [b"x" * 5000]]]
    (result,) = results_from_wire([running.too_large(large, running.size_of(large), 1000)])
    assert result.failure is not None
    assert "5,000 bytes" in result.failure.message
    assert "max_message_bytes" in result.failure.message


def test_an_async_handler_runs_to_its_end() -> None:
    async def twice(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    assert value_of(run(twice, (4,))) == 8


def test_what_an_async_handler_raises_is_its_answer() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no such atom")

    failure = failure_of(run(fail))
    assert failure.message == "ValueError: no such atom"
    assert "in fail" in failure.traceback
