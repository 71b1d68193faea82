"""beanstalkd, a small work queue in C: of Debian's package."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.environments import debian_program
from benchmarks.peers import Arguments, BrokerPeer
from benchmarks.peers.beanstalkd_client import DONE, WORK, Client
from benchmarks.stage import free_port, wait_for_line, wait_for_port
from benchmarks.swarm import shares

LARGEST_JOB = 1 << 30


class InMemory(BrokerPeer):
    name = "beanstalkd"
    title = "beanstalkd"
    how = (
        "a client of our own, a round trip for each put, reserve and delete; results through a second "
        "tube; shared data is sent with each task"
    )
    environment = "base"
    workloads = frozenset({"w1", "w2", "w3", "w4", "w5", "w6"})
    tasks_that_share = 5

    @classmethod
    def program(cls) -> Path | None:
        found = shutil.which("beanstalkd") or debian_program("beanstalkd")
        return None if found is None else Path(found)

    @classmethod
    def missing(cls) -> str | None:
        if cls.program() is None:
            return "beanstalkd is not installed: `python -m benchmarks.peers --install`, or Debian's package"
        return None

    @classmethod
    def other_versions(cls) -> dict[str, str]:
        program = cls.program()
        if program is None:
            return {}
        told = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
        return {"beanstalkd": told.stdout.strip().removeprefix("beanstalkd ")}

    def start_broker(self) -> None:
        self._port = free_port()
        self._run_broker()
        self._connect()
        self._workers: list[subprocess.Popen[bytes]] = []

    def _run_broker(self) -> None:
        self._broker = self.stage.start(
            self.program(), "-l", "127.0.0.1", "-p", self._port, "-z", LARGEST_JOB, *self._options()
        )
        wait_for_port(self._port)

    def _options(self) -> tuple[object, ...]:
        return ()

    def _connect(self) -> None:
        self._client = Client(self._port, puts_into=WORK, reserves_from=DONE)

    def add_workers(self, count: int) -> None:
        module = "benchmarks.peers.beanstalkd_client"
        self._workers += [self.stage.start_python(module, self._port) for _ in range(count)]

    def add_swarm(self, count: int) -> None:
        speaker = "benchmarks.peers.beanstalkd_client:Speaker"
        for share in shares(count):
            wait_for_line(self.stage.start_python("benchmarks.swarm", speaker, self._port, share), b"waiting")

    def stop(self) -> None:
        self._client.close()

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        for each in arguments:
            self._client.put((function, each))
        return (self._take() for _ in arguments)

    def _take(self) -> Any:
        number, value = self._client.reserve()
        self._client.delete(number)
        return value

    def restart_broker(self) -> None:
        self._client.close()
        self._run_broker()
        self._connect()


class WithLog(InMemory):
    name = "beanstalkd-binlog"
    title = "beanstalkd, binlog"
    how = "the same with -b, synced each 50 ms, its default"
    workloads = frozenset({"w1", "w7"})

    def _options(self) -> tuple[object, ...]:
        folder = self.stage.folder / "binlog"
        os.makedirs(folder, exist_ok=True)
        return "-b", folder, "-f", 50
