"""concurrent.futures.ProcessPoolExecutor of the standard library."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from benchmarks import tasks
from benchmarks.peers import Arguments, Peer


class Executor(Peer):
    name = "executor"
    title = "ProcessPoolExecutor"
    how = "forked; submit and result for each task; map: 1,000 a chunk; shared data by its initializer"
    environment = "base"
    workloads = frozenset({"w1", "w2", "w3", "w5", "map"})

    def start(self, workers: int) -> None:
        self._workers = workers
        self._context = multiprocessing.get_context("fork")
        self._pool = ProcessPoolExecutor(workers, self._context)

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        called, submit = tasks.FUNCTIONS[function], self._pool.submit
        futures = [submit(called, *each) for each in arguments]
        return (future.result() for future in futures)

    def submit_at_risk(self, function: str, arguments: Arguments) -> Iterable[Any]:
        called = tasks.FUNCTIONS[function]
        return (
            future.result()
            for future in as_completed([self._pool.submit(called, *each) for each in arguments])
        )

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        return self._pool.submit(tasks.FUNCTIONS[function], *arguments).result()

    def map_noop(self, numbers: range) -> Iterable[int]:
        return self._pool.map(tasks.noop, numbers, chunksize=1_000)

    def submit_probes(self, array: Any, count: int) -> Iterable[Any]:
        self.stop()
        self._pool = ProcessPoolExecutor(
            self._workers, self._context, initializer=tasks.set_initial, initargs=(array,)
        )
        return self.submit("probe_initial", [(number,) for number in range(count)])
