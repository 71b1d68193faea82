"""multiprocessing.Pool of the standard library."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import queue
from collections.abc import Iterable
from typing import Any

from benchmarks import tasks
from benchmarks.peers import Arguments, Peer


class MultiprocessingPool(Peer):
    name = "mp-pool"
    title = "multiprocessing.Pool"
    how = "forked; apply_async for each task, its callback puts the value into a queue; map: imap_unordered \
with Pool.map's own chunks; shared data by its initializer"
    environment = "base"
    workloads = frozenset({"w1", "w2", "w3", "w5", "map"})

    def start(self, workers: int) -> None:
        self._workers = workers
        self._context = multiprocessing.get_context("fork")
        self._pool: multiprocessing.pool.Pool = self._context.Pool(workers)

    def stop(self) -> None:
        self._pool.terminate()
        self._pool.join()

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        called, submit = tasks.FUNCTIONS[function], self._pool.apply_async
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for each in arguments:
            submit(called, each, callback=done.put, error_callback=done.put)
        return (done.get() for _ in arguments)

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        return self._pool.apply(tasks.FUNCTIONS[function], arguments)

    def map_noop(self, numbers: range) -> Iterable[int]:
        chunk = max(1, -(-len(numbers) // (4 * self._workers)))
        return self._pool.imap_unordered(tasks.noop, numbers, chunk)

    def submit_probes(self, array: Any, count: int) -> Iterable[Any]:
        self._pool.close()
        self._pool.join()
        self._pool = self._context.Pool(self._workers, tasks.set_initial, (array,))
        return self.submit("probe_initial", [(number,) for number in range(count)])
