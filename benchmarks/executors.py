"""Our Executor beside the pools that people know: each with two workers of its own on this machine.

    python benchmarks/executors.py [--tasks 10000] [--rounds 3]

The calls do nothing, so what is measured is what a call costs. Medians of the rounds, which take turns;
what counts is the ratio within one run.

    submit   a future for each call, all collected: calls a second
    map      one map over a hundred times as many items, as each sizes its chunks: calls a second
    one      one call at a time: milliseconds, median
    1 MB     an array there and back, all submitted at once: megabytes a second, both ways together
    10 MB    the same
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from joblib.externals.loky import get_reusable_executor

from pyrotask import Executor

WORKERS = 2
COLUMNS = ("submit /s", "map /s", "one ms", "1 MB MB/s", "10 MB MB/s")


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
            lambda items: list(pool.map(nothing, items, chunksize=1000)),
        )


@contextlib.contextmanager
def multiprocessing_pool() -> Iterator[Pool]:
    with multiprocessing.Pool(WORKERS) as pool:
        yield Pool(
            lambda value: pool.apply_async(nothing, (value,)).get, lambda items: pool.map(nothing, items)
        )


@contextlib.contextmanager
def loky() -> Iterator[Pool]:
    pool = get_reusable_executor(WORKERS)
    yield Pool(
        lambda value: pool.submit(nothing, value).result,
        lambda items: list(pool.map(nothing, items, chunksize=1000)),
    )
    pool.shutdown()


def measured(pool: Pool, tasks: int) -> list[float]:
    collect([pool.submit(1) for _ in range(100)])
    waiting = [time.perf_counter()]
    collect([pool.submit(number) for number in range(tasks)])
    waiting.append(time.perf_counter())
    assert len(pool.map(range(100 * tasks))) == 100 * tasks
    waiting.append(time.perf_counter())
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        pool.submit(1)()
        taken.append(time.perf_counter() - began)
    first, second, third = waiting
    return [
        tasks / (second - first),
        100 * tasks / (third - second),
        statistics.median(taken) * 1e3,
        arrays(pool, 1, 100),
        arrays(pool, 10, 20),
    ]


def arrays(pool: Pool, megabytes: int, count: int) -> float:
    array = np.ones(megabytes * 1_000_000, dtype=np.uint8)
    began = time.perf_counter()
    collect([pool.submit(array) for _ in range(count)])
    return 2 * megabytes * count / (time.perf_counter() - began)


def collect(waiting: list[Callable[[], Any]]) -> None:
    for result in waiting:
        result()


POOLS = {
    "pyrotask.Executor": pyrotask,
    "ProcessPoolExecutor": process_pool_executor,
    "multiprocessing.Pool": multiprocessing_pool,
    "loky": loky,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    figures: dict[str, list[list[float]]] = {name: [] for name in POOLS}
    for _ in range(chosen.rounds):
        for name, start in POOLS.items():
            with start() as pool:
                figures[name].append(measured(pool, chosen.tasks))
    print(" " * 22 + "".join(f"{column:>13}" for column in COLUMNS))
    for name, rounds in figures.items():
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(
            f"{name:22}"
            + "".join(f"{value:13,.2f}" if value < 10 else f"{value:13,.0f}" for value in medians)
        )


if __name__ == "__main__":
    main()
