"""Many threads and many proxies at once: each task is answered, each answer comes once."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from pyrotask.core.invariants import check
from tests.taskmanager.houses import HOUSES, House, ask, open_house

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.figures import Figure

CLIENTS = 32

PARSES_ONE_AT_A_TIME = sys.version_info < (3, 12)
"""Until 3.11 a garbage collection within `ast.parse` may give another thread the turn, and a second
`ast.parse` there makes both fail ("AST constructor recursion depth mismatch"). serpent uses it, so 32
proxies in one process meet that every few ten thousand calls. Not a matter of ours: it is kept out. (By
the threshold, since serpent itself turns the collection off and on again around its work.)"""


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change as often as they can."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    if PARSES_ONE_AT_A_TIME:
        gc.set_threshold(0)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_each_of_some_tasks_is_answered_once(restless: None, figure: Figure) -> None:
    with open_house("in process") as house:
        _run_all(house, 4_000, figure)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", HOUSES)
def test_each_of_very_many_tasks_is_answered_once(
    kind: str, restless: None, pytestconfig: pytest.Config, figure: Figure
) -> None:
    # Over proxies 100,000 take minutes: `pytest -m slow --full` has them.
    is_full = kind == "in process" or pytestconfig.getoption("--full")
    with open_house(kind) as house:
        _run_all(house, 100_000 if is_full else 5_000, figure)


class Crowd:
    """Eight masters submit, sixteen slaves work (and sometimes give back), eight masters collect."""

    def __init__(self, house: House, tasks: int) -> None:
        self._house = house
        self._share = tasks // 8
        self.answers: Counter[tuple[int, int]] = Counter()
        self.expected = Counter((k, n) for k in range(8) for n in range(self._share))
        self.errors: list[BaseException] = []

    def run(self) -> None:
        slaves = [self._start(self._work, k) for k in range(16)]
        masters = [self._start(role, k) for role in (self._submit, self._collect) for k in range(8)]
        for thread in masters:
            thread.join()
        self._house.client().terminate()
        for thread in slaves:
            thread.join()

    def _start(self, role: Callable[[Any, int], None], k: int) -> threading.Thread:
        thread = threading.Thread(target=self._play, args=(role, k), daemon=True)
        thread.start()
        return thread

    def _play(self, role: Callable[[Any, int], None], k: int) -> None:
        try:
            role(self._house.client(), k)
        except BaseException as error:  # noqa: BLE001 - told at the end
            if _name(error) != "TaskManagerTermination":
                self.errors.append(error)

    def _submit(self, tm: Any, k: int) -> None:
        for n in range(self._share):
            tm.addTaskRequest(f"tag{n % 3}", [k, n])

    def _work(self, tm: Any, k: int) -> None:
        process = tm.registerProcess(60.0) if k % 2 else None
        for done in count(1):
            # Some take from one tag only, the others from all.
            task = tm.getAnyTask(process) if k % 3 else tm.getTaskWithTag(f"tag{k % 9 // 3}", process)
            if done % 50:
                tm.storeResult(task[0], task[-1])
            else:
                tm.returnTask(task[0])

    def _collect(self, tm: Any, k: int) -> None:
        for _ in range(self._share):
            one, two = tm.getAnyResult()[2]
            with _counting:
                self.answers[one, two] += 1


_counting = threading.Lock()


def _name(error: BaseException) -> str:
    return str(getattr(error, "remote_type", type(error).__name__))


def _run_all(house: House, tasks: int, figure: Figure) -> None:
    crowd = Crowd(house, tasks)
    before = time.perf_counter()
    crowd.run()
    figure(f"{tasks} tasks, {CLIENTS} clients: {tasks / (time.perf_counter() - before):,.0f} tasks/s")
    assert crowd.errors == []
    assert crowd.answers == crowd.expected
    assert [dict(counts) for counts in house.client().numberOfTasks()] == [{}, {}, {}]
    ask(house, lambda m, _: check(m))
