"""The floors: what bare sockets and no promises reach on this machine, see `raw_broker`."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from benchmarks.peers import Arguments, BrokerPeer
from benchmarks.peers.raw_broker import PIECE, Frames, frame
from benchmarks.stage import connected, free_port, wait_for_line, wait_for_port
from benchmarks.swarm import shares

MODULE = "benchmarks.peers.raw_broker"
GATHERED = 131_072
"""So many bytes of tasks are sent at a time."""


class OneByOne(BrokerPeer):
    name = "socket"
    title = "raw sockets (a floor)"
    how = (
        "frames over TCP, a broker of one thread that moves them and promises nothing; a worker has one task"
    )
    environment = "base"
    workloads = frozenset({"w1", "w2", "w4", "w6"})
    credit: ClassVar[int] = 1

    def start_broker(self) -> None:
        self._port = free_port()
        self._broker = self.stage.start_python(MODULE, "serve", self._port)
        wait_for_port(self._port)
        self._connection, self._frames = connected(self._port), Frames()
        self._connection.sendall(frame(0))
        self._workers: list[subprocess.Popen[bytes]] = []

    def add_workers(self, count: int) -> None:
        self._workers += [
            self.stage.start_python(MODULE, "work", self._port, self.credit) for _ in range(count)
        ]

    def add_swarm(self, count: int) -> None:
        speaker = f"{MODULE}:Speaker"
        for share in shares(count):
            swarm = self.stage.start_python("benchmarks.swarm", speaker, self._port, share, self.credit)
            wait_for_line(swarm, b"waiting")

    def stop(self) -> None:
        self._connection.close()

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        gathered = bytearray()
        for each in arguments:
            gathered += frame(0, pickle.dumps((function, each), 5))
            if len(gathered) > GATHERED:
                self._connection.sendall(gathered)
                gathered.clear()
        self._connection.sendall(gathered)
        return self._values(len(arguments))

    def _values(self, count: int) -> Iterator[Any]:
        while count:
            for _, payload in self._frames.cut(self._connection.recv(PIECE)):
                count -= 1
                yield pickle.loads(payload)


class Prefetching(OneByOne):
    name = "socket-64"
    title = "raw sockets, 64 ahead"
    how = "the same, and a worker has up to 64 tasks"
    workloads = frozenset({"w1", "w6"})
    credit = 64
