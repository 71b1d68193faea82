"""Running commands as a user does: in a process of their own, seen through what they print."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any, NamedTuple, Self

PATIENCE_S = 60.0
"""Longer than anything takes on the slowest machine."""

PYROTASK = (sys.executable, "-m", "pyrotask")


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*arguments: str) -> Result:
    """Run a command to its end."""
    done = subprocess.run(
        [*PYROTASK, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Running:
    """A command that runs, from ``with`` to the end of it, where it is killed if it still does."""

    def __init__(self, *arguments: str, command: tuple[str, ...] = PYROTASK) -> None:
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._err: list[str | None] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._lines.put), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self._err.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def line(self, containing: str) -> str:
        """The next line that contains this."""
        return self._next(lambda line: containing in line)

    def event(self, kind: str) -> dict[str, Any]:
        """The next event of that kind, of a command with ``--json``."""
        found: dict[str, Any] = json.loads(self._next(lambda line: json.loads(line)["event"] == kind))
        return found

    def told(self) -> str:
        """What it has printed to stderr so far."""
        return "".join(line for line in self._err if line is not None)

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> Result:
        """Wait until it ends by itself."""
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        rest = []
        while (line := self._lines.get()) is not None:
            rest.append(line)
        return Result(code, "".join(rest), "".join(line for line in self._err if line is not None))

    def _next(self, matches: Callable[[str], bool]) -> str:
        seen = []
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            if matches(line):
                return line
            seen.append(line)
        raise AssertionError(f"it ended without that; it printed {seen}, and to stderr {self._err}")

    @staticmethod
    def _read(stream: IO[str], take: Callable[[str | None], object]) -> None:
        for line in stream:
            take(line)
        take(None)
