"""The watchdog in real time: periods of 0.3 s, real standstills, and what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import Pyro5.api
import pytest

from pyrotask.clock import ManualClock
from pyrotask.config import Settings
from pyrotask.taskmanager import TaskManager
from tests.taskmanager.houses import House, eventually, in_background, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.figures import Figure

pytestmark = pytest.mark.slow  # real processes, and real silences

PERIOD_S = 0.3
"""Four of them are longer than a busy machine keeps a thread waiting."""
SERVE = Path(__file__).parent / "scripts" / "serve_stock.py"


class Pinger:
    """Keeps a process alive from a thread with a client of its own, as an old slave does."""

    def __init__(self, client: Callable[[], Any], process: int) -> None:
        self.answers: list[bool] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(client, process), daemon=True)
        self._thread.start()

    def _run(self, client: Callable[[], Any], process: int) -> None:
        tm = client()
        while not self._over.wait(PERIOD_S):
            self.answers.append(tm.ping(process))
        if isinstance(tm, Pyro5.api.Proxy):
            tm._pyroRelease()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


# --- who is lost, and when ----------------------------------------------------------------------


def test_the_task_of_a_silent_process_runs_again_after_four_periods(house: House, figure: Figure) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    process = tm.registerProcess(PERIOD_S)
    before = time.monotonic()
    tm.getAnyTask(process)
    other = in_background(house, "getAnyTask")
    assert other.result()[0] == "t_0"
    seconds = time.monotonic() - before
    figure(f"lost after {seconds / PERIOD_S:.2f} periods")
    assert seconds >= 4 * PERIOD_S
    assert tm.ping(process) is False


def test_a_process_that_pings_keeps_its_task_however_long_it_takes(house: House) -> None:
    tm = house.client()
    tm.addTaskRequest("t", None)
    process = tm.registerProcess(PERIOD_S)
    tm.getAnyTask(process)
    with Pinger(house.client, process) as pinger:
        eventually(lambda: len(pinger.answers) >= 10)
    assert all(pinger.answers)
    assert tm.numberOfTasks()[1] == {"t": 1}


def test_any_call_of_a_process_is_a_sign_of_life(house: House) -> None:
    tm = house.client()
    process = tm.registerProcess(PERIOD_S)
    for _ in range(10):
        time.sleep(PERIOD_S / 2)
        tm.addTaskRequest("t", None, process)
    assert tm.numberOfActiveProcesses() == 1


def test_a_lost_process_is_not_resurrected_by_any_call(house: House) -> None:
    tm = house.client()
    process = tm.registerProcess(0.05)
    eventually(lambda: tm.numberOfActiveProcesses() == 0)
    assert tm.ping(process) is False
    with refusal("UnknownProcess", KeyError, "again after a loss"):
        tm.addTaskRequest("t", 1, process)
    with refusal("UnknownProcess", KeyError, "again after a loss"):
        tm.getAnyTask(process)
    assert tm.numberOfActiveProcesses() == 0


def test_a_task_is_lost_so_often_and_no_more() -> None:
    with TaskManager(Settings(max_losses=2)) as tm:
        tm.addTaskRequest("t", None)
        for _ in range(2):
            tm.getAnyTask(tm.registerProcess(0.02), timeout=10)
        with refusal("TaskRaisedException", Exception, "silent") as caught:
            tm.getAnyResult(timeout=10)
        assert type(caught.value.exception).__name__ == "WorkerLost"  # type: ignore[attr-defined]


def test_a_deadline_is_judged_at_its_instant_and_not_before() -> None:
    clock = ManualClock(start=1_000)
    with TaskManager(Settings(), clock=clock) as tm:
        tm.registerProcess(30.0)
        clock.advance(120 - 1e-9)
        tm.broker.engine.tick()
        assert tm.numberOfActiveProcesses() == 1
        clock.advance(1e-9)
        tm.broker.engine.tick()
        assert tm.numberOfActiveProcesses() == 0


def test_a_shorter_promise_wakes_the_sleeping_watchdog(local: House) -> None:
    tm = local.client()
    tm.registerProcess(1000.0)
    eventually(_watchdog_sleeps)
    tm.registerProcess(0.05)
    eventually(lambda: tm.numberOfActiveProcesses() == 1)


def test_the_longest_promise_is_no_trouble(local: House) -> None:
    tm = local.client()
    tm.registerProcess(1e9)
    eventually(_watchdog_sleeps)
    tm.registerProcess(0.05)
    eventually(lambda: tm.numberOfActiveProcesses() == 1)


def _watchdog_sleeps() -> bool:
    threads = [t for t in threading.enumerate() if t.name == "pyrotask-watchdog"]
    frames = sys._current_frames()
    return any(frames[t.ident or 0].f_code.co_name == "wait" for t in threads if t.ident in frames)


# --- what it costs --------------------------------------------------------------------------------


def test_the_watchdog_wakes_for_its_deadlines_only(local: House) -> None:
    tm, engine = local.client(), local.manager.broker.engine
    judgements: list[int] = []

    def judge() -> None:
        judgements.append(engine.now())
        engine.tick()

    engine.watchdog.judge_through(judge)
    processes = [tm.registerProcess(0.05 * k) for k in (1, 2, 3)]
    eventually(lambda: tm.numberOfActiveProcesses() == 0)
    assert len(judgements) <= len(processes)


def test_pings_cost_no_judgements(local: House) -> None:
    tm, engine = local.client(), local.manager.broker.engine
    judgements: list[int] = []

    def judge() -> None:
        judgements.append(engine.now())
        engine.tick()

    engine.watchdog.judge_through(judge)
    process = tm.registerProcess(PERIOD_S)
    until = time.monotonic() + 5 * PERIOD_S
    while time.monotonic() < until:
        tm.ping(process)
    assert judgements == []


def test_an_idle_manager_uses_no_cpu(local: House, figure: Figure) -> None:
    tm = local.client()
    for _ in range(10):
        tm.registerProcess(100.0)
    waiting = [in_background(local, "getAnyTask") for _ in range(10)]
    eventually(_watchdog_sleeps)
    before = time.process_time()
    time.sleep(1.0)
    used = time.process_time() - before
    figure(f"an idle manager used {used * 1000:.1f} ms of CPU in a second")
    assert used < 0.1
    assert all(call.is_waiting for call in waiting)


# --- judging through an event loop ------------------------------------------------------------------


def test_what_arrives_before_the_judgement_counts(local: House) -> None:
    tm, engine = local.client(), local.manager.broker.engine
    process = tm.registerProcess(0.05)

    def read_everything_first() -> None:
        tm.ping(process)
        engine.tick()

    engine.watchdog.judge_through(read_everything_first)
    time.sleep(1.0)
    assert tm.numberOfActiveProcesses() == 1


def test_a_judge_that_fails_does_not_end_the_watchdog(local: House, caplog: pytest.LogCaptureFixture) -> None:
    tm, engine = local.client(), local.manager.broker.engine

    def gone() -> None:
        raise RuntimeError("Event loop is closed")

    engine.watchdog.judge_through(gone)
    tm.registerProcess(0.05)
    eventually(lambda: tm.numberOfActiveProcesses() == 0)
    assert "Event loop is closed" in caplog.text


def test_when_the_loop_is_gone_the_watchdog_judges_itself(local: House) -> None:
    tm, engine = local.client(), local.manager.broker.engine
    asked = threading.Event()
    engine.watchdog.judge_through(asked.set)
    tm.registerProcess(0.05)
    assert asked.wait(10)
    assert tm.numberOfActiveProcesses() == 1
    engine.watchdog.judge_through(None)
    eventually(lambda: tm.numberOfActiveProcesses() == 0)


# --- standing still -----------------------------------------------------------------------------------


def test_nobody_is_lost_while_an_extension_keeps_the_gil(local: House) -> None:
    tm = local.client()
    before = time.perf_counter()
    sum(range(5_000_000))
    for_10_periods = range(int(5_000_000 * 10 * PERIOD_S / (time.perf_counter() - before)))
    process = tm.registerProcess(PERIOD_S)
    with Pinger(lambda: tm, process) as pinger:
        eventually(lambda: pinger.answers)
        sum(for_10_periods)  # one long call in C: no other thread runs
        pings = len(pinger.answers)
        eventually(lambda: len(pinger.answers) > pings + 8)
    assert all(pinger.answers)


@pytest.fixture
def served() -> Iterator[tuple[str, int]]:
    """A manager in a process of its own: its URI, and the process's number."""
    with subprocess.Popen([sys.executable, str(SERVE)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.kill()


@pytest.mark.parametrize("periods", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 10))])
def test_nobody_is_lost_while_the_manager_is_stopped(served: tuple[str, int], periods: int) -> None:
    uri, pid = served
    with Pyro5.api.Proxy(uri) as tm:
        process = tm.registerProcess(PERIOD_S)
        with Pinger(lambda: Pyro5.api.Proxy(uri), process) as pinger:
            eventually(lambda: len(pinger.answers) >= 3)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(periods * PERIOD_S)
            os.kill(pid, signal.SIGCONT)
            before = len(pinger.answers)
            eventually(lambda: len(pinger.answers) >= before + 8)
        assert all(pinger.answers)
        assert tm.numberOfActiveProcesses() == 1


def test_who_is_silent_is_lost_also_after_a_stop(served: tuple[str, int]) -> None:
    uri, pid = served
    with Pyro5.api.Proxy(uri) as tm:
        tm.registerProcess(PERIOD_S)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(6 * PERIOD_S)
        os.kill(pid, signal.SIGCONT)
        eventually(lambda: tm.numberOfActiveProcesses() == 0)
