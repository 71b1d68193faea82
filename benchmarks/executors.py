"""Our Executor beside the pools that people know: each with two workers of its own on this machine.

    python -m benchmarks.executors [--tasks 10000] [--rounds 3]

The calls do nothing, so what is measured is what a call costs. Medians of the rounds, in which the pools take
turns; what counts is the ratio within one run. Each pool is used in the fastest way that its documentation
tells, the chunks of a map included; ours sizes them itself.

    submit   a future for each call, all collected: calls a second
    map      one map over a hundred times as many items: calls a second
    one      one call at a time: milliseconds, median
    1 MB     arrays there and back, all submitted at once, a hundredth as many: megabytes a second, both ways,
             of the second round
    10 MB    the same, a five-hundredth as many
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import described
from pyrotask import Executor

WORKERS = 2
CHUNK = 1_000
"""Items, for the maps that have to be told."""

COLUMNS = ("submit, calls/s", "map, calls/s", "one at a time, ms", "1 MB, MB/s", "10 MB, MB/s")


def nothing(value: Any) -> Any:
    return value


class Pool(NamedTuple):
    """How a pool does each of them."""

    submit: Callable[[Any], Callable[[], Any]]
    """Submits a call of `nothing`; returns what waits for its result."""
    map: Callable[[range], Any]


@contextlib.contextmanager
def pyrotask() -> Iterator[Pool]:
    with Executor(max_workers=WORKERS) as pool:
        yield Pool(
            lambda value: pool.submit(nothing, value).result, lambda items: list(pool.map(nothing, items))
        )


@contextlib.contextmanager
def process_pool_executor() -> Iterator[Pool]:
    with ProcessPoolExecutor(WORKERS) as pool:
        yield Pool(
            lambda value: pool.submit(nothing, value).result,
            lambda items: list(pool.map(nothing, items, chunksize=CHUNK)),
        )


@contextlib.contextmanager
def multiprocessing_pool() -> Iterator[Pool]:
    with multiprocessing.Pool(WORKERS) as pool:
        yield Pool(
            lambda value: pool.apply_async(nothing, (value,)).get, lambda items: pool.map(nothing, items)
        )


@contextlib.contextmanager
def loky() -> Iterator[Pool]:
    from joblib.externals.loky import get_reusable_executor

    pool = get_reusable_executor(WORKERS)
    yield Pool(
        lambda value: pool.submit(nothing, value).result,
        lambda items: list(pool.map(nothing, items, chunksize=CHUNK)),
    )
    pool.shutdown()


def measured(pool: Pool, tasks: int) -> list[float]:
    """What stands in the columns, in their order."""
    collect([pool.submit(1) for _ in range(100)])

    def one_call() -> None:
        pool.submit(1)()

    return [
        tasks / seconds(lambda: collect([pool.submit(number) for number in range(tasks)])),
        100 * tasks / seconds(lambda: mapped(pool, 100 * tasks)),
        statistics.median(seconds(one_call) for _ in range(200)) * 1e3,
        arrays(pool, 1, max(1, tasks // 100)),
        arrays(pool, 10, max(1, tasks // 500)),
    ]


def mapped(pool: Pool, items: int) -> None:
    assert pool.map(range(items))[-1] == items - 1


def arrays(pool: Pool, megabytes: int, count: int) -> float:
    array = np.arange(megabytes * 125_000, dtype=np.float64)
    values: list[Any] = []

    def there_and_back() -> None:
        values[:] = collect([pool.submit(array) for _ in range(count)])

    there_and_back()  # processes that were not forked from this one import numpy now
    rate = 2 * megabytes * count / seconds(there_and_back)
    assert all(np.array_equal(value, array) for value in values)
    return rate


def collect(waiting: list[Callable[[], Any]]) -> list[Any]:
    return [result() for result in waiting]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


POOLS = {
    "pyrotask.Executor": pyrotask,
    "ProcessPoolExecutor": process_pool_executor,
    "multiprocessing.Pool": multiprocessing_pool,
    "joblib's loky": loky,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    about = described(Path(tempfile.gettempdir()))
    pools = dict(POOLS)
    if importlib.util.find_spec("joblib") is None:
        del pools["joblib's loky"]
        print("joblib is not installed: `pip install joblib`, and measure again\n")
    figures: dict[str, list[list[float]]] = {name: [] for name in pools}
    for _ in range(chosen.rounds):
        for name, start in pools.items():
            with start() as pool:
                figures[name].append(measured(pool, chosen.tasks))
    print("; ".join(f"{name}: {value}" for name, value in about.items()), end="\n\n")
    print(f"|  | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    for name, rounds in figures.items():
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(f"| {name} | {' | '.join(shown(value) for value in medians)} |")


def shown(value: float) -> str:
    """With three digits: more would promise too much."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
