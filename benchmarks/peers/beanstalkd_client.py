"""A client of beanstalkd, of the few commands that are needed here; and a worker.

    python -m benchmarks.peers.beanstalkd_client PORT

Tasks are jobs in the tube "work"; a worker puts their values into the tube "done", and only then
deletes the job. Each command is a round trip.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import time
from typing import Any

from benchmarks import tasks
from benchmarks.stage import connected

WORK, DONE = "work", "done"
RUN_S = 60
"""How long a worker may have a job before it is given to another."""


class Client:
    """One connection, for one thread. ``OSError`` or ``EOFError`` when it breaks."""

    def __init__(self, port: int, *, puts_into: str, reserves_from: str) -> None:
        self._socket = connected(port)
        self._replies = self._socket.makefile("rb")
        self._command(b"use %s\r\n" % puts_into.encode())
        self._command(b"watch %s\r\n" % reserves_from.encode())
        self._command(b"ignore default\r\n")

    def put(self, value: Any) -> None:
        self._command(put_command(pickle.dumps(value, 5)), b"INSERTED")

    def reserve(self) -> tuple[int, Any]:
        """Wait for a job. Returns its number and value."""
        _, number, size = self._command(b"reserve\r\n", b"RESERVED").split()
        data = self._replies.read(int(size) + 2)
        return int(number), pickle.loads(data[:-2])

    def delete(self, number: int) -> None:
        self._command(delete_command(number), b"DELETED")

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def _command(self, command: bytes, expected: bytes = b"") -> bytes:
        self._socket.sendall(command)
        reply = self._replies.readline()
        if not reply:
            raise EOFError("beanstalkd has closed the connection")
        if not reply.startswith(expected):
            raise RuntimeError(f"beanstalkd answers {reply!r} to {command[:40]!r}")
        return reply


def put_command(data: bytes) -> bytes:
    return b"put 0 0 %d %d\r\n%b\r\n" % (RUN_S, len(data), data)


def delete_command(number: int) -> bytes:
    return b"delete %d\r\n" % number


def work(port: int) -> None:
    """Run tasks until the connection breaks."""
    client = Client(port, puts_into=DONE, reserves_from=WORK)
    while True:
        number, (function, arguments) = client.reserve()
        client.put(tasks.FUNCTIONS[function](*arguments))
        client.delete(number)


class Speaker:
    """The same as a worker of a swarm."""

    def __init__(self) -> None:
        self._heard = b""

    def first(self) -> bytes:
        return b"use %b\r\nwatch %b\r\nignore default\r\nreserve\r\n" % (DONE.encode(), WORK.encode())

    def is_waiting(self) -> bool:
        return True  # it has said so in its first words

    def received(self, data: bytes) -> bytes:
        self._heard += data
        said = b""
        while b"\r\n" in self._heard:
            line, _, rest = self._heard.partition(b"\r\n")
            if line.startswith(b"RESERVED"):
                _, number, size = line.split()
                if len(rest) < int(size) + 2:
                    break
                function, arguments = pickle.loads(rest[: int(size)])
                rest = rest[int(size) + 2 :]
                value = pickle.dumps(tasks.FUNCTIONS[function](*arguments), 5)
                said += put_command(value) + delete_command(int(number)) + b"reserve\r\n"
            self._heard = rest
        return said


def main() -> None:
    while True:
        with contextlib.suppress(OSError, EOFError):
            work(int(sys.argv[1]))
        time.sleep(0.05)  # it was killed, and comes back


if __name__ == "__main__":
    main()
