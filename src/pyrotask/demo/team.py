"""The demo's workers: one `pyrotask worker` below this process, and what it tells."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from typing import IO, Any, Self

from pyrotask.errors import HandlerError

END_S = 10.0
"""How long the workers of a terminated manager may take to end: they need a fraction of a second."""

REMEMBERED_LINES = 20


class Team:
    """Workers in processes of their own, from ``with`` to the end of it. Thread-safe.

    They are tethered: when this process ends, in whatever way, they end as well.

    Args:
        where: the manager's address.
        count: how many.
    """

    def __init__(self, where: str, count: int) -> None:
        self._where, self._count = where, count
        self._lock = threading.Lock()
        self._pids: dict[int, int] = {}
        self._lines: deque[str] = deque(maxlen=REMEMBERED_LINES)

    def __enter__(self) -> Self:
        command = ["worker", self._where, "-n", str(self._count), "--module", "pyrotask.demo.analysis"]
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "pyrotask", *command, "--tether", "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which then ends them in order
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, take), daemon=True)
            for stream, take in (
                (self._supervisor.stdout, self._take_event),
                (self._supervisor.stderr, self._take_line),
            )
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:  # the manager is terminated, so they end by themselves
                self._supervisor.wait(END_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._end_now()

    def check(self) -> None:
        """Return if the supervisor lives.

        Raises:
            HandlerError: it has ended; the text has its last words.
        """
        code = self._supervisor.poll()
        if code is not None:
            raise HandlerError(f"the workers ended with exit code {code}: {self.last_words()}")

    def pids(self) -> Mapping[int, int]:
        """The running workers: their pids by their process numbers."""
        with self._lock:
            return dict(self._pids)

    def last_words(self) -> str:
        """What the supervisor wrote to stderr last."""
        with self._lock:
            return "\n".join(self._lines) or "(nothing)"

    def _read(self, stream: IO[str], take: Any) -> None:
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in stream:
                with self._lock:
                    take(line.rstrip("\n"))

    def _take_line(self, line: str) -> None:
        self._lines.append(line)

    def _take_event(self, line: str) -> None:
        event = json.loads(line)
        if event["event"] == "registered":
            self._pids[event["process"]] = event["pid"]
        elif event["event"] == "ended":
            self._pids.pop(event["process"], None)

    def _end_now(self) -> None:
        """End whoever still is there. The tether ends the workers when their supervisor is killed."""
        self._supervisor.kill()
        self._supervisor.wait()
        for reader in self._readers:
            reader.join(END_S)
        for stream in (self._supervisor.stdin, self._supervisor.stdout, self._supervisor.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
