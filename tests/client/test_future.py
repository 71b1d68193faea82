"""What a session's future is, before anybody waits for it and then."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ALL_COMPLETED, Future, as_completed, wait

import pytest

from pyrotask.client.future import TaskFuture

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
