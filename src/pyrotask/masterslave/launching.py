"""Slaves that a master starts on its own machine, and that end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from pyrotask.masterslave.telling import say

ENDING_S = 3.0
"""How long slaves may take to end once the manager has ended."""


class LaunchedSlaves:
    """The slaves of one master. Thread-safe.

    Each holds one end of a pipe (the rope), whose other end is closed when this process ends,
    however it does; and each has a thread here that waits for its end, so that none is left as
    a zombie, and a violent end is told.
    """

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ropes: list[int] = []
        self._ending = False

    def launch(self, label: str, master_host: str | None, count: int, key_file: Path) -> None:
        """Start slaves of the manager with that label, at that ``"host:port"``, with its key if it asks.

        ``master_host`` None: they find it by its label, also when it moves.
        """
        for _ in range(count):
            theirs, ours = os.pipe()
            command = [sys.executable, "-P", "-m", "pyrotask.masterslave.slave_main"]
            command += [] if master_host is None else ["--master", master_host]
            command += ["--rope", str(theirs), "--", label]
            # A session of its own: Ctrl-C is for the master, who decides what becomes of the rest.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs],
                start_new_session=True,
                env={**os.environ, "PYROTASK_KEY_FILE": str(key_file.absolute())},
            )
            os.close(theirs)
            self._ropes.append(ours)
            self._processes.append(process)
            threading.Thread(target=self._reap, args=(process,), name="pyrotask-slave", daemon=True).start()

    @property
    def alive(self) -> list[int]:
        """The process ids of those that run."""
        return [process.pid for process in self._processes if process.poll() is None]

    def end(self) -> None:
        """Wait for their end, and then see to it. Idempotent. Blocks for `ENDING_S` at most."""
        self._ending = True
        give_up_at = time.monotonic() + ENDING_S
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, give_up_at - time.monotonic()))
        ropes, self._ropes = self._ropes, []
        for rope in ropes:
            os.close(rope)
        for process in self._processes:
            process.kill()
            process.wait()

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if code and not self._ending:
            say(f"slave process {process.pid} {_how(code)}")


def _how(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"
