"""An Executor over a broker with a worker of the test's own, which runs in a thread."""

from __future__ import annotations

import gc
import logging
import math
import operator
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    as_completed,
    wait,
)
from functools import partial
from itertools import count
from typing import Any, Self, cast

import pytest

from pyrotask import Executor
from pyrotask.client.outcomes import RemoteTraceback
from pyrotask.config import Settings
from pyrotask.errors import KeyConflict, PayloadError, SessionExpired
from pyrotask.remote.server import Server
from pyrotask.worker import functions
from pyrotask.worker.functions import Functions, fetcher
from tests.client.serving import PATIENCE_S, HandWorker, ThreadWorker
from tests.remote.serving import in_thread
from tests.waiting import until


def tripled(number: int) -> int:
    return 3 * number


class FunctionWorker(ThreadWorker):
    """It runs what Executors submit, and "sqrt"."""

    def __init__(self, where: str) -> None:
        self.fetched: list[str] = []
        fetch = fetcher(where, Settings())

        def fetch_and_note(label: str) -> Any:
            self.fetched.append(label)
            return fetch(label)

        super().__init__(where, Functions(fetch_and_note).handlers() | {"sqrt": math.sqrt})

    def __enter__(self) -> Self:
        super().__enter__()
        return self


@pytest.fixture
def worker(server: Server) -> Iterator[FunctionWorker]:
    with FunctionWorker(server.address) as worker:
        yield worker


@pytest.fixture
def executor(server: Server) -> Iterator[Executor]:
    executor = Executor(server.address)
    yield executor
    executor.cancel_all()
    executor.shutdown()


# --- submit -----------------------------------------------------------------------------------------


def test_a_call_returns_its_result(executor: Executor, worker: FunctionWorker) -> None:
    assert executor.submit(tripled, 2).result(PATIENCE_S) == 6
    assert executor.submit(pow, 2, exp=5).result(PATIENCE_S) == 32


def test_any_callable_can_be_called(executor: Executor, worker: FunctionWorker) -> None:
    outer = 10
    calls = [
        executor.submit(lambda inner: outer + inner, 1),
        executor.submit(partial(operator.add, 5), 6),
        executor.submit("{}!".format, 11),
        executor.submit(str, 11),
    ]
    assert [call.result(PATIENCE_S) for call in calls] == [11, 11, "11!", "11"]


def test_a_text_is_the_tag_of_a_handler(executor: Executor, worker: FunctionWorker) -> None:
    assert executor.submit("sqrt", 16.0).result(PATIENCE_S) == 4.0


def test_a_function_travels_once(executor: Executor, worker: FunctionWorker) -> None:
    factor = 3
    futures = [executor.submit(lambda n: n * factor, number) for number in range(100)]
    assert [future.result(PATIENCE_S) for future in futures] == [3 * number for number in range(100)]
    assert len(worker.fetched) == 1


def test_no_call_overtakes_its_function_though_another_thread_has_sent_that(
    executor: Executor, worker: FunctionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = executor._session
    store, submit = session.store, session.submit_payload
    order: list[str] = []
    has_submitted = threading.Event()
    others: list[Callable[[], Any]] = []

    def noted_submit(*args: Any) -> Any:
        order.append("submit")
        has_submitted.set()
        return submit(*args)

    def slow_store(*args: Any, **options: Any) -> None:
        others.append(in_thread(lambda: executor.submit(tripled, 2)))
        has_submitted.wait(0.1)  # it would be wrong; when all is well it is not
        order.append("store")
        store(*args, **options)

    monkeypatch.setattr(session, "submit_payload", noted_submit)
    monkeypatch.setattr(session, "store", slow_store)
    assert executor.submit(tripled, 1).result(PATIENCE_S) == 3
    assert [other().result(PATIENCE_S) for other in others] == [6]

    assert order == ["store", "submit", "submit"]


def test_what_is_defined_anew_runs_as_it_is_then(executor: Executor, worker: FunctionWorker) -> None:
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec("k = 2\ndef f(x): return k * x", cell)
    first = executor.submit(cell["f"], 10)
    exec("k = 3", cell)
    second = executor.submit(cell["f"], 10)
    exec("def f(x): return -x", cell)
    third = executor.submit(cell["f"], 10)
    assert [future.result(PATIENCE_S) for future in (first, second, third)] == [20, 30, -10]


def test_an_exception_is_the_original_with_the_remote_traceback_as_cause(
    executor: Executor, worker: FunctionWorker
) -> None:
    error = executor.submit(operator.truediv, 1, 0).exception(PATIENCE_S)
    assert type(error) is ZeroDivisionError
    assert isinstance(error.__cause__, RemoteTraceback)


def test_a_class_of_the_script_comes_back_as_itself(executor: Executor, worker: FunctionWorker) -> None:
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec("class Trouble(Exception): pass\ndef f(x): raise Trouble(x)", cell)
    error = executor.submit(cell["f"], 7).exception(PATIENCE_S)
    assert type(error) is cell["Trouble"]
    assert str(error) == "7"


@pytest.mark.parametrize("arguments", [(threading.Lock(),), (print, threading.Lock())])
def test_what_cannot_be_pickled_is_the_futures_exception(
    executor: Executor, arguments: tuple[Any, ...]
) -> None:
    fn = partial(print, arguments[0]) if len(arguments) == 1 else print
    assert isinstance(executor.submit(fn, *arguments).exception(PATIENCE_S), PayloadError)


def test_a_result_that_cannot_be_pickled_is_an_error(executor: Executor, worker: FunctionWorker) -> None:
    assert "cannot be pickled" in str(executor.submit(threading.Lock).exception(PATIENCE_S))


def test_what_is_no_function_is_refused(executor: Executor) -> None:
    with pytest.raises(TypeError, match="a function is needed"):
        executor.submit(3)  # type: ignore[arg-type]


def test_a_function_of_another_python_names_both(
    executor: Executor, worker: FunctionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = functions._own_python()
    with monkeypatch.context() as there:
        there.setattr(functions, "_own_python", lambda: "3.9")
        future, by_name = executor.submit(lambda: 1), executor.submit(tripled, 1)
    with pytest.raises(PayloadError, match=f"pickled by Python 3.9, and this worker runs Python {own}"):
        future.result(PATIENCE_S)
    assert by_name.result(PATIENCE_S) == 3  # a name means the same everywhere


def test_the_standard_library_waits_for_them(executor: Executor, worker: FunctionWorker) -> None:
    futures = [executor.submit(tripled, number) for number in range(50)]
    assert {future.result() for future in as_completed([*futures, *futures], PATIENCE_S)} == {
        3 * number for number in range(50)
    }


def test_arguments_and_results_are_not_kept(executor: Executor, worker: FunctionWorker) -> None:
    class Thing:
        pass

    argument = Thing()
    seen = weakref.ref(argument)
    future = executor.submit(repr, argument)
    future.result(PATIENCE_S)
    del argument
    gc.collect()
    assert seen() is None
    value = weakref.ref(future)
    del future
    gc.collect()
    until(lambda: value() is None)  # the thread that brought the answer may still have it in hand


def test_a_map_keeps_no_result_that_it_has_given_out(executor: Executor, worker: FunctionWorker) -> None:
    for thing in executor.map(_new_thing, range(10), chunksize=5):
        seen = weakref.ref(thing)
        del thing
        gc.collect()
        assert seen() is None


def test_thousands_of_futures_are_freed_when_they_are_dropped(
    executor: Executor, worker: FunctionWorker
) -> None:
    futures = [executor.submit(tripled, number) for number in range(3000)]
    seen = weakref.WeakSet(futures)
    assert wait(futures, PATIENCE_S).not_done == set()
    del futures[:2000]
    gc.collect()
    until(lambda: len(seen) == 1000)


def test_futures_that_nobody_has_are_freed_when_they_are_done(
    executor: Executor, worker: FunctionWorker
) -> None:
    seen = weakref.WeakSet(executor.submit(tripled, number) for number in range(1000))
    assert executor._session.wait(PATIENCE_S)
    until(lambda: not gc.collect() and not seen)


# --- what cannot travel -----------------------------------------------------------------------------


def test_an_argument_that_cannot_be_unpickled_is_an_error_of_its_call_only(
    executor: Executor, worker: FunctionWorker
) -> None:
    assert "no way in" in str(executor.submit(tripled, NoWayIn()).exception(PATIENCE_S))
    assert executor.submit(tripled, 2).result(PATIENCE_S) == 6


def test_a_result_that_cannot_be_unpickled_is_an_error_of_its_call_only(
    executor: Executor, worker: FunctionWorker
) -> None:
    assert "no way in" in str(executor.submit(NoWayIn).exception(PATIENCE_S))
    assert executor.submit(tripled, 2).result(PATIENCE_S) == 6


def test_an_exception_that_cannot_be_unpickled_is_told_by_another(
    executor: Executor, worker: FunctionWorker
) -> None:
    error = executor.submit(_raise_what_cannot_be_made_again).exception(PATIENCE_S)
    assert "needs more" in str(error)


def test_one_item_of_a_map_that_cannot_be_pickled_is_raised_in_its_place(
    executor: Executor, worker: FunctionWorker
) -> None:
    results = executor.map(repr, [1, threading.Lock()], chunksize=1)
    assert next(results) == "1"
    with pytest.raises(PayloadError):
        next(results)


# --- timeouts -----------------------------------------------------------------------------------------


def test_who_waits_with_a_timeout_gets_back_what_is_done_by_then(
    executor: Executor, by_hand: HandWorker
) -> None:
    done, waits = executor.submit(tripled, 1), executor.submit(tripled, 2)
    by_hand.answer(by_hand.take(1)[0], 3)
    assert done.result(PATIENCE_S) == 3
    with pytest.raises(TimeoutError):
        waits.result(0.01)
    with pytest.raises(TimeoutError):
        waits.exception(0.01)
    assert wait([done, waits], 0.01) == ({done}, {waits})
    assert wait([done, waits], return_when=FIRST_COMPLETED).done == {done}
    completed = as_completed([done, waits], 0.01)
    assert next(completed) is done
    with pytest.raises(TimeoutError, match="1 \\(of 2\\) futures unfinished"):
        next(completed)


def test_who_waits_for_the_first_exception_gets_back_then(executor: Executor, by_hand: HandWorker) -> None:
    fails, waits = executor.submit(tripled, 1), executor.submit(tripled, 2)
    by_hand.fail(by_hand.take(1)[0], ValueError("no"))
    assert wait([fails, waits], PATIENCE_S, return_when=FIRST_EXCEPTION) == ({fails}, {waits})


def test_a_wait_names_calls_and_the_command_that_helps(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    executor = Executor(server.address, settings=Settings(explain_after_s=0.1))
    executor.submit(tripled, 1)
    with caplog.at_level(logging.WARNING, "pyrotask.client"):
        until(lambda: caplog.messages)
    executor.leave()
    assert caplog.messages == [
        "1 call of an Executor waits; no worker is registered: `pyrotask worker clients` starts one"
    ]


# --- options ----------------------------------------------------------------------------------------


def test_options_are_those_of_a_session(executor: Executor, by_hand: HandWorker) -> None:
    executor.with_options(priority=1).submit(tripled, 1)
    executor.with_options(priority=2).with_options(time_limit_s=9.0).submit(tripled, 2)
    executor._session.flush(PATIENCE_S)
    first, second = by_hand.take(1)[0], by_hand.take(1)[0]
    assert (first[5], second[5]) == (9.0, None)


def test_an_unknown_option_is_refused_with_those_there_are(executor: Executor) -> None:
    with pytest.raises(TypeError, match="no option 'retry'; there are: .*retries"):
        executor.with_options(retry=3)


def test_a_call_with_a_key_is_done_once(server: Server, worker: FunctionWorker) -> None:
    calls = []
    for _ in range(2):
        with Executor(server.address) as executor:
            calls.append(executor.with_options(key="k").submit(time.perf_counter_ns).result(PATIENCE_S))
    assert calls[0] == calls[1]


def test_a_key_with_another_call_is_a_conflict(server: Server, worker: FunctionWorker) -> None:
    with Executor(server.address) as executor:
        executor.with_options(key="k").submit(tripled, 1).result(PATIENCE_S)
        error = executor.with_options(key="k").submit(tripled, 2).exception(PATIENCE_S)
    assert isinstance(error, KeyConflict)


def test_a_key_for_an_object_of_the_scripts_own_class_is_refused_at_once(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec("class Point:\n def norm(self): return 1", cell)
    point, keyed = cell["Point"](), executor.with_options(key="k")
    for future in (
        keyed.submit(repr, point),
        keyed.submit(point.norm),
        keyed.submit(partial(repr, [point])),
        keyed.submit("sqrt", point),
    ):
        error = future.exception(PATIENCE_S)
        assert isinstance(error, PayloadError)
        assert "key 'k' has an object of a class that this script" in str(error)
        assert "Put the class into a module" in str(error)


# --- map --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"chunksize": 7}, {"buffersize": 10}, {"chunksize": 3, "buffersize": 5}]
)
def test_a_map_gives_results_in_order(
    executor: Executor, worker: FunctionWorker, options: dict[str, Any]
) -> None:
    assert list(executor.map(tripled, range(1000), **options)) == [3 * number for number in range(1000)]


def test_a_map_over_several_iterables_ends_with_the_shortest(
    executor: Executor, worker: FunctionWorker
) -> None:
    assert list(executor.map(pow, range(3), [2] * 10)) == [0, 1, 4]
    assert list(executor.map(tripled, [])) == []


def test_items_that_are_tuples_are_one_argument_each(executor: Executor, worker: FunctionWorker) -> None:
    assert list(executor.map(sum, [(1, 2), (3, 4)])) == [3, 7]


def test_a_map_gives_the_results_before_the_call_that_raised(
    executor: Executor, worker: FunctionWorker
) -> None:
    results = executor.map(partial(operator.truediv, 1), [1, 2, 4, 0, 5], chunksize=5)
    assert [next(results) for _ in range(3)] == [1.0, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError) as raised:
        next(results)
    assert isinstance(raised.value.__cause__, RemoteTraceback)


def test_a_map_with_a_buffer_takes_no_more_than_that(executor: Executor, worker: FunctionWorker) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    results = executor.map(tripled, endless(), buffersize=10)
    assert [next(results) for _ in range(20)] == [3 * number for number in range(20)]
    assert len(taken) <= 30
    results.close()  # type: ignore[attr-defined]


def test_tiny_calls_travel_in_large_chunks(
    executor: Executor, server: Server, worker: FunctionWorker
) -> None:
    assert sum(executor.map(tripled, range(50_000))) == 3 * sum(range(50_000))
    tasks = cast("int", server.task_manager.broker.call(lambda m, _: m.state.next_task))
    assert tasks < 500


def test_a_result_that_is_late_is_a_timeout(executor: Executor) -> None:
    with pytest.raises(TimeoutError):
        next(executor.map(tripled, [1], timeout=0.01))


def test_who_stops_asking_has_the_rest_cancelled(executor: Executor, by_hand: HandWorker) -> None:
    results = executor.map(tripled, range(10), chunksize=1)
    by_hand.take(1)
    results.close()  # type: ignore[attr-defined]
    assert executor._session.wait(PATIENCE_S)
    assert by_hand.take(10, 0) == []


@pytest.mark.parametrize("options", [{"chunksize": 0}, {"buffersize": 0}])
def test_a_size_must_be_positive(executor: Executor, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        executor.map(tripled, [1], **options)


def test_a_map_with_retries_calls_again(executor: Executor, worker: FunctionWorker) -> None:
    calls.clear()
    eager = executor.with_options(retries=2, retry_delay_s=0)
    assert list(eager.map(_fails_at_first, range(4), chunksize=2)) == [0, 1, 2, 3]
    assert sorted(calls) == [0, 0, 1, 2, 2, 3]


def test_a_map_has_no_key(executor: Executor) -> None:
    with pytest.raises(TypeError, match="a key names one call"):
        executor.with_options(key="k").map(tripled, [1])


# --- the end ----------------------------------------------------------------------------------------


def test_leaving_the_block_waits_for_the_calls(server: Server, worker: FunctionWorker) -> None:
    with Executor(server.address) as executor:
        futures = [executor.submit(tripled, number) for number in range(100)]
    assert all(future.done() for future in futures)


def test_after_the_shutdown_nothing_is_taken(executor: Executor) -> None:
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(tripled, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map(tripled, [1])


def test_a_shutdown_can_cancel_what_waits_and_finishes_what_runs(server: Server, by_hand: HandWorker) -> None:
    executor = Executor(server.address)
    futures = [executor.submit(tripled, number) for number in range(10)]
    keyed = executor.with_options(key="k", priority=-1).submit(tripled, 1)
    (task,) = by_hand.take(1)
    ended = in_thread(lambda: executor.shutdown(cancel_futures=True))
    assert wait([*futures[1:], keyed], PATIENCE_S).not_done == set()
    assert all(future.cancelled() for future in [*futures[1:], keyed])
    by_hand.answer(task, "done")
    assert futures[0].result(PATIENCE_S) == "done"
    assert ended() is None


def test_all_that_is_not_done_can_be_cancelled(executor: Executor, by_hand: HandWorker) -> None:
    futures = [executor.submit(tripled, number) for number in range(10)]
    by_hand.take(1)
    executor.cancel_all()
    assert all(future.cancelled() for future in futures)
    with pytest.raises(CancelledError):
        futures[0].result()


def test_a_shutdown_without_waiting_finishes_what_was_submitted(
    server: Server, worker: FunctionWorker
) -> None:
    executor = Executor(server.address)
    futures = [executor.submit(tripled, number) for number in range(100)]
    executor.shutdown(wait=False)
    assert wait(futures, PATIENCE_S).not_done == set()
    assert futures[99].result() == 297


def test_its_functions_go_with_it(server: Server, worker: FunctionWorker) -> None:
    with Executor(server.address) as executor:
        executor.submit(lambda: 1).result(PATIENCE_S)
        executor.with_options(key="k").submit(tripled, 1).result(PATIENCE_S)
    labels = cast("list[str]", server.task_manager.broker.call(lambda m, _: list(m.state.data)))
    assert len(labels) == 1  # that of the key is for all


def test_a_named_executor_finds_what_its_earlier_life_has_left(
    server: Server, worker: FunctionWorker
) -> None:
    friday = Executor(server.address, name="friday")
    future = friday.submit(tripled, 5)
    friday._session.close()
    if future.exception() is None or not isinstance(future.exception(), SessionExpired):
        assert future.result() == 15
        return
    with Executor(server.address, name="friday") as monday:
        assert [answer.result() for answer in monday.results(PATIENCE_S)] == [15]


# --- dropped ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("initializer", [None, print])
def test_one_that_is_dropped_is_freed_and_finishes_its_calls(
    server: Server, by_hand: HandWorker, initializer: Callable[..., Any] | None
) -> None:
    executor = Executor(server.address, initializer=initializer)
    seen = weakref.ref(executor)
    futures = [executor.submit(tripled, number) for number in range(2)]
    first, second = by_hand.take(1)[0], by_hand.take(1)[0]
    del executor
    gc.collect()
    assert seen() is None

    by_hand.answer(first, 0)
    assert futures[0].result(PATIENCE_S) == 0
    assert len(sessions(server)) == 1
    by_hand.answer(second, 3)
    assert futures[1].result(PATIENCE_S) == 3
    until(lambda: not sessions(server))


def test_one_that_is_dropped_unused_leaves(server: Server) -> None:
    executor = Executor(server.address)
    assert len(sessions(server)) == 1
    del executor
    gc.collect()
    until(lambda: not sessions(server))


def test_a_map_goes_on_without_its_executor(server: Server, worker: FunctionWorker) -> None:
    results = Executor(server.address).map(tripled, range(100), chunksize=1, buffersize=10)
    gc.collect()
    assert list(results) == [3 * number for number in range(100)]


def test_a_future_does_not_hold_what_is_shut_down(server: Server, worker: FunctionWorker) -> None:
    executor = Executor(server.address)
    future = executor.submit(tripled, 2)
    executor.shutdown()
    seen = weakref.ref(executor)
    del executor
    gc.collect()
    assert seen() is None
    assert future.result() == 6


def sessions(server: Server) -> list[int]:
    return cast("list[int]", server.task_manager.broker.call(lambda m, _: list(m.state.sessions)))


# --- initializers -----------------------------------------------------------------------------------

initialized: list[str] = []
calls: list[int] = []


def test_an_initializer_runs_once_in_each_process(server: Server, worker: FunctionWorker) -> None:
    initialized.clear()
    with Executor(server.address, initializer=_initialize, initargs=("x",)) as executor:
        assert list(executor.map(_seen, range(3), chunksize=1)) == [["x"], ["x"], ["x"]]
        assert executor.submit(_seen, 1).result(PATIENCE_S) == ["x"]


def test_an_initializer_that_raises_breaks_the_executor(server: Server, worker: FunctionWorker) -> None:
    executor = Executor(server.address, initializer=operator.truediv, initargs=(1, 0))
    futures = [executor.submit(tripled, 1) for _ in range(10)]
    for future in futures:
        with pytest.raises(BrokenExecutor, match="the initializer raised ZeroDivisionError"):
            future.result(PATIENCE_S)
    with pytest.raises(BrokenExecutor, match="ZeroDivisionError"):
        executor.submit(tripled, 1)
    executor.shutdown()


class NoWayIn:
    def __reduce__(self) -> tuple[object, ...]:
        return _refuse, ()


class NeedsMore(Exception):
    def __init__(self, what: str, more: str) -> None:
        super().__init__(f"{what} needs {more}")


class Thing:
    pass


def _refuse() -> None:
    raise ValueError("no way in")


def _raise_what_cannot_be_made_again() -> None:
    raise NeedsMore("it", "more")


def _new_thing(_: int) -> Thing:
    return Thing()


def _fails_at_first(number: int) -> int:
    calls.append(number)
    if number % 2 == 0 and calls.count(number) == 1:
        raise OSError("try again")
    return number


def _initialize(text: str) -> None:
    initialized.append(text)


def _seen(_: int) -> list[str]:
    return list(initialized)


# --- arguments --------------------------------------------------------------------------------------


def test_the_workers_of_a_broker_are_not_ours_to_count() -> None:
    with pytest.raises(ValueError, match="pyrotask worker campaign -n 4"):
        Executor("campaign", max_workers=4)
    with pytest.raises(ValueError, match="greater than 0"):
        Executor(max_workers=0)
