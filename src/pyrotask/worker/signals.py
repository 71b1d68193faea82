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


class EndingSignals:
    """The signals that told a supervisor to end.

    Attributes:
        count: how many have come; counted before the supervisor is told.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.count = 0

    def take(self) -> None:
        """One has come: the first drains, any other stops."""
        self.count += 1
        if self.count == 1:
            self._supervisor.drain()
        else:
            self._supervisor.stop()


def drain_at_signals(supervisor: Supervisor) -> EndingSignals:
    """SIGTERM or Ctrl-C drains the supervisor, a second one stops it. From the main thread only."""
    signals = EndingSignals(supervisor)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(reading, signals), name="pyrotask-signals", daemon=True).start()
    return signals


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    """Instead of ending the process; `_listen` does what is to be done."""


def _listen(reading: int, signals: EndingSignals) -> None:
    while True:
        for number in os.read(reading, 64):
            if number in (signal.SIGTERM, signal.SIGINT):
                signals.take()
