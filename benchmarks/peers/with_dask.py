"""dask.distributed: a scheduler and workers, by its own commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from benchmarks import tasks
from benchmarks.peers import Arguments, BrokerPeer
from benchmarks.stage import free_port, wait_for_port


class Dask(BrokerPeer):
    name = "dask"
    title = "dask.distributed"
    how = "scheduler and workers of one thread, without dashboard and nanny; submit for each task, \
as_completed in batches; map: client.map(batch_size=1000); shared data: scatter(broadcast=True)"
    environment = "dask"
    distributions = ("dask", "distributed")
    workloads = frozenset({"w1", "w2", "w3", "w4", "w5", "w7", "map"})

    def start_broker(self) -> None:
        os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"  # what we kill, it need not tell
        from distributed import Client

        self._port = free_port()
        self._run_broker()
        self._client = Client(f"tcp://127.0.0.1:{self._port}")
        self._workers: list[Any] = []

    def _run_broker(self) -> None:
        self._broker = self.stage.start(
            sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
            "--port", self._port, "--no-dashboard", "--no-jupyter",
        )  # fmt: skip
        wait_for_port(self._port)

    def add_workers(self, count: int) -> None:
        self._workers += [
            self.stage.start(
                sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{self._port}",
                "--host", "127.0.0.1", "--nthreads", 1, "--no-nanny", "--no-dashboard",
                "--local-directory", self.stage.folder,
            )
            for _ in range(count)
        ]  # fmt: skip
        self._client.wait_for_workers(len(self._workers), timeout=30)

    def stop(self) -> None:
        self._client.close(timeout=3)

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        called, submit = tasks.FUNCTIONS[function], self._client.submit
        return self._values([submit(called, *each, pure=False) for each in arguments])

    def _values(self, futures: list[Any]) -> Iterable[Any]:
        from distributed import as_completed

        for batch in as_completed(futures, with_results=True).batches():
            for _, value in batch:
                yield value

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        return self._client.submit(tasks.FUNCTIONS[function], *arguments, pure=False).result()

    def map_noop(self, numbers: range) -> Iterable[int]:
        return self._values(self._client.map(tasks.noop, numbers, pure=False, batch_size=1_000))

    def submit_probes(self, array: Any, count: int) -> Iterable[Any]:
        shared = self._client.scatter(array, broadcast=True)
        return self.submit("probe", [(number, shared) for number in range(count)])
