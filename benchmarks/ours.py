"""pyrotask itself, by the fastest documented way of its own interface."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import Future, as_completed
from typing import TYPE_CHECKING, Any

from benchmarks import tasks
from benchmarks.peers import Arguments, BrokerPeer
from benchmarks.stage import Stage, wait_for_line
from benchmarks.swarm import shares

if TYPE_CHECKING:
    from pyrotask import Executor

SPEAKER = "benchmarks.our_speaker:Speaker"
AT_ONCE = 16
"""So many tasks a worker of a swarm takes at most: a real one finds its number out by itself."""


class InMemory(BrokerPeer):
    name = "pyrotask"
    title = "pyrotask"
    how = "`pyrotask serve`, `pyrotask worker -n 2`; Session.submit for each task, then result of each; \
map: Executor.map; shared data stored at the broker once, for many, and mapped by each worker"
    environment = None
    distributions = ("pyrotask", "Pyro5", "msgpack", "uvloop")
    workloads = frozenset({"w1", "w2", "w3", "w4", "w5", "w6", "map", "plain", "idle"})
    largest_swarm = 10_000

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._executor: Executor | None = None

    def start_broker(self) -> None:
        from pyrotask import Session

        self.label = f"benchmark-{time.monotonic_ns()}"
        self._port = 0
        self._run_broker()
        self._session = Session(self.label)

    def _run_broker(self) -> None:
        self._broker = self.stage.start_python(
            "pyrotask",
            "serve",
            self.label,
            "--name-server",
            "off",
            "--json",
            *self._place(),
            *self._keeping(),
        )
        told = json.loads(wait_for_line(self._broker, b'"serving"'))
        self._uri = str(told["uri"])
        self._port = int(told["address"].rpartition(":")[2])

    def _place(self) -> tuple[object, ...]:
        return ("--port", self._port) if self._port else ()

    def _keeping(self) -> tuple[object, ...]:
        return ()

    def add_workers(self, count: int) -> None:
        self.supervisor = self.stage.start_python(
            "pyrotask", "worker", self.label, "-n", count, "--module", "benchmarks.handlers", "--json"
        )
        for _ in range(count):
            wait_for_line(self.supervisor, b'"registered"')

    def add_swarm(self, count: int) -> None:
        for share in shares(count):
            swarm = self.stage.start_python("benchmarks.swarm", SPEAKER, self._port, share, AT_ONCE)
            wait_for_line(swarm, b"waiting")

    def stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
        self._session.close()

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        submit = self._session.submit
        futures = [submit(function, *each) for each in arguments]
        return (future.result() for future in futures)

    def submit_at_risk(self, function: str, arguments: Arguments) -> Iterable[Any]:
        futures = [self._session.submit(function, *each) for each in arguments]
        return (future.result() for future in as_completed(futures))

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        return self._session.submit(function, *arguments).result()

    def submit_probes(self, array: Any, count: int) -> Iterable[Any]:
        name = f"array {time.monotonic_ns()}"
        self._session.store(name, self._session.encode(array, for_many=True))
        return self.submit("probe stored", [(number, self.label, name) for number in range(count)])

    def map_noop(self, numbers: range) -> Iterable[int]:
        from pyrotask import Executor

        if self._executor is None:
            self._executor = Executor(self.label)
        return self._executor.map(tasks.noop, numbers)

    def never(self) -> Future[Any]:
        """The answer of a task that nobody has a handler for."""
        return self._session.submit("nobody does it")

    def plain_address(self) -> str:
        return self._uri


class Durable(InMemory):
    name = "pyrotask-durable"
    title = "pyrotask, durable"
    how = "the same with --journal: each answer is given when the disk has it"
    workloads = frozenset({"w1", "w2", "w3", "w4", "w5", "w7", "map"})

    def _keeping(self) -> tuple[object, ...]:
        return "--journal", self.stage.folder / "journal"
