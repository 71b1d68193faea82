"""The naive port: a task manager in a stock Pyro5 daemon, as `naive_manager` has it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from typing import Any

from benchmarks.peers import Arguments, BrokerPeer
from benchmarks.stage import free_port, wait_for_line, wait_for_port
from benchmarks.swarm import shares

MODULE = "benchmarks.peers.naive_manager"


class Naive(BrokerPeer):
    name = "naive"
    title = "naive Pyro5"
    how = "a lock and two conditions in a stock Pyro5 daemon, serpent, a remote call for each step; arrays \
as pickled bytes; shared data stored in it once, and kept by each worker"
    environment = "pyro5"
    distributions = ("Pyro5", "serpent")
    workloads = frozenset({"w1", "w2", "w3", "w4", "w5", "w6", "w7", "plain"})
    largest_swarm = 500

    def start_broker(self) -> None:
        self._port = free_port()
        self._run_broker()
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stored = 0

    def _run_broker(self) -> None:
        from Pyro5.api import Proxy

        self._broker = self.stage.start_python(MODULE, "serve", self._port)
        wait_for_port(self._port)
        self._manager = Proxy(self.plain_address())

    def plain_address(self) -> str:
        return f"PYRO:naive@127.0.0.1:{self._port}"

    def add_workers(self, count: int) -> None:
        self._workers += [self.stage.start_python(MODULE, "work", self._port) for _ in range(count)]

    def add_swarm(self, count: int) -> None:
        for share in shares(count):
            swarm = self.stage.start_python("benchmarks.swarm", f"{MODULE}:Speaker", self._port, share)
            wait_for_line(swarm, b"waiting")

    def stop(self) -> None:
        self._manager._pyroRelease()  # noqa: SLF001 - Pyro's public names look like this

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        from benchmarks.peers.naive_manager import packed

        is_plain = function in {"noop", "logged"}
        for each in arguments:
            self._manager.addTaskRequest(function, each if is_plain else packed(each))
        return (self._take() for _ in arguments)

    def _take(self) -> Any:
        from benchmarks.peers.naive_manager import unpacked

        _, _, value = self._manager.getAnyResult()
        return unpacked(value) if isinstance(value, dict) else value

    def submit_probes(self, array: Any, count: int) -> Iterable[Any]:
        from benchmarks.peers.naive_manager import packed, stored

        self._stored += 1
        label = f"array {self._stored}"
        self._manager.storeData(label, packed(array))
        return self.submit("probe", [(number, stored(label)) for number in range(count)])

    def restart_broker(self) -> None:
        self._manager._pyroRelease()  # noqa: SLF001
        self._run_broker()
