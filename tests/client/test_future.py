"""What a session's future is, before anybody waits for it and then."""

from __future__ import annotations

import contextlib
import copy
import pickle
import sys
import threading
import tracemalloc
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, as_completed, wait
from itertools import count

import pytest

from pyrotask.client.future import TaskFuture, end_all, tell
from tests.client.interruption import Interruption
from tests.waiting import until

LONG_S = 60.0


def bytes_each(kind: type[Future[object]], *words: str) -> float:
    count = 1_000
    tracemalloc.start()
    try:
        kept = [kind(*words) for _ in range(count)]
        return tracemalloc.get_traced_memory()[0] / len(kept)
    finally:
        tracemalloc.stop()


def test_it_takes_less_memory_than_one_of_the_standard_library() -> None:
    assert bytes_each(TaskFuture, "tag") < bytes_each(Future) / 2


def test_a_ctrl_c_while_it_is_asked_for_something_leaves_it_to_who_has_its_answer() -> None:
    for point in count():
        future = TaskFuture("tag")
        interruption = Interruption(point, also=[Future.done, threading.Condition.__enter__])
        with contextlib.suppress(KeyboardInterrupt), interruption:
            future.done()
        settling = threading.Thread(target=future.settle, args=("value", None), daemon=True)
        settling.start()
        settling.join(LONG_S / 2)
        assert future.result(0) == "value", point
        if not interruption.has_come:
            break


def test_a_ctrl_c_anywhere_in_a_wait_is_one_and_who_waits_again_is_told() -> None:
    for point in count():
        future = TaskFuture("tag")
        interruption = Interruption(point, also=[Future.result, threading.Condition.wait])
        with contextlib.suppress(KeyboardInterrupt, TimeoutError), interruption:
            future.result(0)
        waiting = waiting_for(future)
        future.settle("value", None)
        waiting.join(LONG_S)
        if not interruption.has_come:
            break
    assert point > 5


def test_all_who_wait_are_told() -> None:
    future = TaskFuture("tag")
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(future.result(LONG_S))) for _ in range(3)]
    for thread in threads:
        thread.start()
    future.settle("value", None)
    for thread in threads:
        thread.join(LONG_S)
    assert seen == ["value"] * 3


def test_who_waits_too_short_hears_so_and_may_wait_again() -> None:
    future = TaskFuture("tag")
    with pytest.raises(TimeoutError):
        future.result(0.01)
    future.settle("value", None)
    assert future.result(0) == "value"


def test_the_standard_librarys_waits_take_it_beside_others() -> None:
    futures: list[Future[object]] = [TaskFuture("tag"), Future(), TaskFuture("tag")]

    def settle() -> None:
        for number, future in enumerate(futures):
            future.set_result(number)

    settling = threading.Thread(target=settle)
    settling.start()
    done, pending = wait(futures, LONG_S, ALL_COMPLETED)
    settling.join(LONG_S)
    assert (done, pending) == (set(futures), set())
    assert {future.result() for future in as_completed(futures, LONG_S)} == {0, 1, 2}


class Office:
    """Notes who was cancelled."""

    def __init__(self) -> None:
        self.cancellations: list[TaskFuture] = []

    def cancelled(self, future: TaskFuture) -> None:
        self.cancellations.append(future)

    def is_running(self, _task: int) -> bool:
        return False


def waiting_for(future: TaskFuture) -> threading.Thread:
    """A thread that waits for it."""

    def wait_for_it() -> None:
        with contextlib.suppress(CancelledError):
            future.result(LONG_S)

    thread = threading.Thread(target=wait_for_it, daemon=True)
    thread.start()
    until(lambda: future._condition._made)
    return thread


def leaving(_future: object) -> None:
    """A callback that wants to end the program."""
    sys.exit(3)


def test_who_is_cancelled_is_so_for_all_whatever_a_callback_raises() -> None:
    office = Office()
    future = TaskFuture("tag", owner=office)
    future.add_done_callback(leaving)
    with pytest.raises(SystemExit):
        future.cancel()
    assert wait([future], 0).done == {future}
    assert office.cancellations == [future]


def test_after_a_ctrl_c_anywhere_in_a_cancellation_its_answer_ends_it_for_all() -> None:
    for point in count():
        future = TaskFuture("tag", owner=Office())
        waiting = waiting_for(future)
        interruption = Interruption(point, also=[Future.cancel])
        with contextlib.suppress(KeyboardInterrupt), interruption:
            future.cancel()
        future.settle("value", None)
        waiting.join(LONG_S / 2)
        assert not waiting.is_alive(), point
        assert wait([future], 0).done == {future}, point
        if not interruption.has_come:
            break
    assert point > 5


def test_a_callback_does_not_end_the_thread_that_tells_it() -> None:
    future = TaskFuture("tag")
    future.add_done_callback(leaving)
    tell(future, future.settle, "value", None)
    assert future.result(0) == "value"


@pytest.mark.parametrize("cancel", [False, True])
def test_all_are_ended_before_it_is_raised_what_a_callback_raises(cancel: bool) -> None:
    futures = [TaskFuture("tag") for _ in range(3)]
    for future in futures[:2]:
        future.add_done_callback(leaving)
    with pytest.raises(SystemExit):
        end_all(futures, ValueError("over"), cancel=cancel)
    assert wait(futures, 0).not_done == set()


def test_it_is_no_more_to_be_copied_than_one_of_the_standard_library() -> None:
    for future in (TaskFuture("tag"), Future[object]()):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(future)
        with pytest.raises(TypeError, match="cannot pickle"):
            copy.deepcopy(future)
