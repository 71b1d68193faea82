"""Signals that are never lost, for the process of a supervisor.

Python runs a signal's handler in the main thread, when that gets to it: one that comes in the
instant before the main thread begins to wait is seen when that wait ends, which may be never.
What the system itself writes into a pipe, a thread that reads it sees at once.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from pyrotask.worker.supervisor import Supervisor


def drain_at_signals(supervisor: Supervisor) -> None:
    """SIGTERM or Ctrl-C drains the supervisor, a second one stops it. From the main thread only."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(reading, supervisor), name="pyrotask-signals", daemon=True).start()


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    """Instead of ending the process; `_listen` does what is to be done."""


def _listen(reading: int, supervisor: Supervisor) -> None:
    told = 0
    while True:
        for number in os.read(reading, 64):
            if number in (signal.SIGTERM, signal.SIGINT):
                told += 1
                if told == 1:
                    supervisor.drain()
                else:
                    supervisor.stop()
