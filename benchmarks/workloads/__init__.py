"""The work that is measured, and which figures each yields.

A workload is a function that gets a `Trial`: it starts the system as it needs it, and reports
figures. None of them asserts that something is fast; all of them check that the answers are right.
"""

from __future__ import annotations

import importlib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from benchmarks.peers import Peer
from benchmarks.stage import Stage

WORKERS = 2


@dataclass(frozen=True)
class Trial:
    """One system doing one workload, once.

    Attributes:
        quick: only see that it works; the figures do not matter.
        report: takes the name and the value of a figure.
    """

    peer: Peer
    stage: Stage
    quick: bool
    report: Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a workload is, and where its code stands.

    Attributes:
        figures: names and units; a name that ends with "@" stands for several, with a number behind.
        has_team: it finds a system with workers that have run something; such workloads share one
            trial, since starting takes longer than many of them.
        rounds, rounds_of_others: more are not done, of us and of the others: they take long, and say enough.
        limit_s: after how long it is ended.
    """

    name: str
    title: str
    code: str
    figures: dict[str, str]
    has_team: bool = False
    rounds: int = 100
    rounds_of_others: int = 100
    limit_s: float = 60.0

    def run(self, trial: Trial) -> None:
        module, _, function = self.code.partition(":")
        getattr(importlib.import_module(f"benchmarks.workloads.{module}"), function)(trial)


WORKLOADS = {
    each.name: each
    for each in (
        Workload(
            name="w1",
            title="no-op tasks, a submit for each, all answers collected; 2 workers",
            code="speed:many",
            figures={"rate": "tasks/s", "cpu": "µs of CPU a task"},
            has_team=True,
        ),
        Workload(
            name="w2",
            title="one no-op task at a time",
            code="speed:one_at_a_time",
            figures={"p50": "ms", "p99": "ms"},
            has_team=True,
        ),
        Workload(
            name="map",
            title="no-op tasks by the call that batches them by itself",
            code="speed:mapped",
            figures={"rate": "tasks/s"},
            has_team=True,
        ),
        Workload(
            name="w3",
            title="arrays there and back; tasks that share an array of 50 MB",
            code="arrays:arrays",
            figures={"1 MB": "MB/s", "10 MB": "MB/s", "shared": "tasks/s"},
            has_team=True,
        ),
        Workload(
            name="w4",
            title="many waiting no-op tasks, then two workers",
            code="brokers:waiting",
            figures={"waiting": "tasks", "bytes": "bytes a task in the broker", "drain": "tasks/s"},
            rounds_of_others=1,
        ),
        Workload(
            name="w5",
            title="1,000 tasks of 4 ms, a worker is killed in the middle",
            code="deaths:of_a_worker",
            figures={"answers": "of 1,000", "twice": "tasks", "again": "ms"},
            rounds_of_others=2,
        ),
        Workload(
            name="w6",
            title="10,000 no-op tasks with many idle workers",
            code="brokers:idle_workers",
            figures={
                "rate@": "tasks/s",
                "wake@": "µs",
                "memory@": "kB a worker in the broker",
                "threads@": "threads in the broker",
            },
            rounds_of_others=1,
            limit_s=150.0,
        ),
        Workload(
            name="w7",
            title="10,000 tasks of 1 ms, the broker is killed in the middle and started again a second later",
            code="deaths:of_the_broker",
            figures={"answers": "of 10,000", "twice": "tasks", "goes on": "s"},
            rounds_of_others=1,
            limit_s=120.0,
        ),
        Workload(
            name="plain",
            title="no-op tasks by plain Pyro proxies, default serializer, a call for each step",
            code="plain:by_plain_proxies",
            figures={"1 master": "tasks/s", "16 masters": "tasks/s"},
        ),
        Workload(
            name="idle",
            title="a minute with nothing to do",
            code="idle:nothing_to_do",
            figures={
                "broker": "ms of CPU",
                "supervisor and 2 workers": "ms of CPU",
                "waiting master": "ms of CPU",
            },
            rounds=1,
            limit_s=120.0,
        ),
    )
}


# --- what several of them use ---------------------------------------------------------------------


class TimeUp(BaseException):
    """Not an Exception: no library in between may take it for one of its own."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the main thread after so many seconds; more than once, in case it is swallowed."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeUp(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def warm_up(trial: Trial, workers: int = WORKERS, timeout_s: float = 30.0) -> None:
    """Run tasks until each worker has run one."""
    log = trial.stage.folder / "warm-up"
    with at_most(timeout_s):
        while True:
            numbers = range(8 * workers)
            values = trial.peer.submit("logged", [(number, 0.002, str(log)) for number in numbers])
            assert sorted(values) == list(numbers)
            if len({line.split()[1] for line in log.read_text().splitlines()}) >= workers:
                return


def no_ops(trial: Trial, count: int) -> float:
    """Run so many, check the answers, and return the seconds that it took."""
    arguments = [(number,) for number in range(count)]
    began = time.perf_counter()
    values = list(trial.peer.submit("noop", arguments))
    taken = time.perf_counter() - began
    assert len(values) == count
    assert sum(values) == count * (count - 1) // 2, "wrong answers"
    return taken


def suitable_count(seconds: float, tried: int, target_s: float, most: int) -> int:
    """How many tasks take about the target, if ``tried`` took so many seconds."""
    return max(tried, min(most, int(tried * target_s / seconds)))
