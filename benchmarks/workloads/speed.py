"""No-op tasks: what the system itself costs."""

from __future__ import annotations

import statistics
import time

import psutil

from benchmarks.workloads import Trial, at_most, no_ops, suitable_count

PILOT = 500
TARGET_S = 0.7
MOST = 30_000
MOST_MAPPED = 1_000_000
MOST_CALLS = 1_000


def many(trial: Trial) -> None:
    no_ops(trial, 100)
    count = suitable_count(no_ops(trial, PILOT), PILOT, target_s(trial), MOST)
    before = cpu_s()
    taken = no_ops(trial, count)
    trial.report("rate", count / taken)
    trial.report("cpu", (cpu_s() - before) / count * 1e6)


def one_at_a_time(trial: Trial) -> None:
    taken: list[float] = []
    until = time.perf_counter() + (0.2 if trial.quick else 1.0)
    with at_most(20):
        while len(taken) < MOST_CALLS and (time.perf_counter() < until or len(taken) < 20):
            began = time.perf_counter()
            value = trial.peer.call("noop", (len(taken),))
            taken.append(time.perf_counter() - began)
            assert value == len(taken) - 1
    hundredths = statistics.quantiles(taken, n=100)
    trial.report("p50", hundredths[49] * 1e3)
    trial.report("p99", hundredths[98] * 1e3)


def mapped(trial: Trial) -> None:
    def run(count: int) -> float:
        began = time.perf_counter()
        total = sum(trial.peer.map_noop(range(count)))
        assert total == count * (count - 1) // 2, "wrong answers"
        return time.perf_counter() - began

    learned = suitable_count(run(PILOT), PILOT, target_s(trial), MOST_MAPPED)
    # The first run was for what sizes its batches by itself; after the second it is at its best.
    count = suitable_count(run(learned), learned, target_s(trial), MOST_MAPPED)
    trial.report("rate", count / run(count))


def target_s(trial: Trial) -> float:
    """About how long what is measured ought to take."""
    return 0.1 if trial.quick else TARGET_S


def cpu_s() -> float:
    """CPU seconds of this process and of all that it has started and that live."""
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [me, *me.children(recursive=True)])
