"""What the tests of recovery share: brokers with a journal, as processes, and one worker for them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pyrotask
from pyrotask.errors import ConnectError
from tests.cli.commands import PYROTASK, Running

LABEL = "recovering"

PATIENCE_S = 60.0
"""Longer than anything takes on the slowest machine."""

TASKS = '''
import os
import pathlib
import socket
import time

def do_double(index, seconds):
    time.sleep(seconds)
    with pathlib.Path(__file__).with_name("runs").open("a") as runs:
        runs.write(f"{index}\\n")
    return 2 * index

def do_meet(port):
    """Tell the test that it runs, and wait for the test."""
    with socket.create_connection(("127.0.0.1", port)) as meeting:
        meeting.sendall(b"%d\\n" % os.getpid())
        meeting.recv(1)
    return "met"
'''


class Broker:
    """`pyrotask serve` with a journal, until it is killed, told to end, or the block is left.

    ``largest_file``: at this size in bytes the system refuses to make any of its files longer.
    ``name_server``: ``"host:port"``, or "off". ``runtime_dir``: None: this process's own.
    """

    def __init__(
        self,
        journal: Path,
        *,
        port: int = 0,
        policy: str = "always",
        largest_file: int | None = None,
        name_server: str = "off",
        runtime_dir: Path | None = None,
    ) -> None:
        limit = "unlimited" if largest_file is None else str(largest_file // 512)
        place = () if runtime_dir is None else (f"PYROTASK_RUNTIME_DIR={runtime_dir}",)
        self.command = Running(
            "serve", LABEL, "--journal", str(journal), "--journal-policy", policy,
            "--port", str(port), "--name-server", name_server, "--json",
            command=("env", *place, "sh", "-c", f'ulimit -f {limit}; exec "$@"', "sh", *PYROTASK),
        )  # fmt: skip

    def __enter__(self) -> Self:
        try:
            started = self.command.event("serving")
        except BaseException:
            self.command.__exit__()
            raise
        self.address = str(started["address"])
        self.port = int(self.address.rpartition(":")[2])
        self.uri = str(started["uri"])
        return self

    def __exit__(self, *_: object) -> None:
        self.command.__exit__()

    def kill(self) -> None:
        """`kill -9`."""
        self.command.process.kill()
        self.command.process.wait(PATIENCE_S)

    def tell_to_end(self) -> None:
        """SIGTERM."""
        self.command.process.terminate()
        self.command.process.wait(PATIENCE_S)


@contextlib.contextmanager
def working(folder: Path, count: int, where: str = LABEL, tasks: str = TASKS) -> Iterator[Running]:
    """`pyrotask worker`, with that many processes that take part; ``tasks``: the text of its module."""
    module = folder / "recovery_tasks.py"
    module.write_text(tasks, encoding="utf-8")
    with Running("worker", where, "-n", str(count), "--module", str(module), "--tether", "--json") as worker:
        for _ in range(count):
            worker.event("registered")
        yield worker


def manager() -> Any:
    """A proxy for the broker, as soon as there is one."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return pyrotask.connect(LABEL, timeout_s=PATIENCE_S)
        except ConnectError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)  # nobody tells a client when a broker is there
