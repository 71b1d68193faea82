"""Many threads and many proxies at once: each task is answered, each answer comes once."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pyrotask.core.invariants import check
from tests.taskmanager.houses import House, ask, open_house

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENTS = 32
PER_TASK = 4
"""Calls for a task: ask for it, take it, hand in, collect."""


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("kind", "tasks"), [("in process", 4_000), ("stock daemon", 1_000)])
def test_each_task_is_answered_once(kind: str, tasks: int, restless: None) -> None:
    with open_house(kind) as house:
        _run_all(house, tasks)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["in process", "stock daemon"])
def test_each_of_100_000_tasks_is_answered_once(kind: str, restless: None) -> None:
    with open_house(kind) as house:
        _run_all(house, 100_000)


def _run_all(house: House, tasks: int) -> None:
    """Eight masters submit, sixteen slaves work (and some give back), eight masters collect."""
    collected: list[list[Any]] = [[] for _ in range(8)]
    errors: list[BaseException] = []
    share = tasks // 8

    def submit(tm: Any, k: int) -> None:
        for n in range(share):
            tm.addTaskRequest(f"tag{n % 3}", [k, n])

    def work(tm: Any, k: int) -> None:
        process = tm.registerProcess(60.0) if k % 2 else None
        done = 0
        while True:
            try:
                if k % 3:
                    task_id, _, value = tm.getAnyTask(process)
                else:
                    task_id, value = tm.getTaskWithTag(f"tag{k % 9 // 3}", process)
            except Exception as error:
                if getattr(error, "remote_type", type(error).__name__) != "TaskManagerTermination":
                    raise
                return
            done += 1
            if done % 50 == 0:
                tm.returnTask(task_id)
            else:
                tm.storeResult(task_id, value)

    def collect(tm: Any, k: int) -> None:
        collected[k] += [tuple(tm.getAnyResult()[2]) for _ in range(share)]

    def start(role: Callable[[Any, int], None], k: int) -> threading.Thread:
        def run() -> None:
            try:
                role(house.client(), k)
            except BaseException as error:  # noqa: BLE001 - told at the end
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    before = time.perf_counter()
    slaves = [start(work, k) for k in range(16)]
    masters = [start(role, k) for role in (submit, collect) for k in range(8)]
    for thread in masters:
        thread.join()
    seconds = time.perf_counter() - before
    house.client().terminate()
    for thread in slaves:
        thread.join()
    print(f"{tasks} tasks, {len(slaves + masters)} clients: {tasks / seconds:,.0f} tasks/s")
    assert errors == []
    answers = Counter(answer for answers in collected for answer in answers)
    assert answers == Counter((k, n) for k in range(8) for n in range(share))
    assert house.client().numberOfTasks()[2] in ({}, dict.fromkeys(("tag0", "tag1", "tag2"), 0))
    ask(house, lambda m, _: check(m))
