"""A child's second pair of hands: it hands in short tasks' results while a long one runs.

The main thread does that by itself, between two tasks. Only when a task takes longer than those
before it let expect, results would wait for it. The porter's thread looks now and then whether
they do; it sleeps for good while no batches come. (A task that holds the interpreter's lock
keeps the porter waiting too.)
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from pyrotask.worker.outbox import Outbox

log = logging.getLogger("pyrotask.worker")

LOOK_S = 0.02
"""How often the porter looks, while it is awake."""

IDLE_LOOKS = 100
"""After how many looks in vain it sleeps for good."""


class Porter:
    """See the module's text.

    Args:
        outbox: where results may lie for too long.
        hand_in: sends some, if nobody does at this moment. Called in the porter's thread.
    """

    def __init__(self, outbox: Outbox, hand_in: Callable[[], None]) -> None:
        self._outbox = outbox
        self._hand_in = hand_in
        self._looks_left = 0
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def be_awake(self) -> None:
        """Results may come to lie. Called by one thread only; costs nothing if it is awake."""
        self._looks_left = IDLE_LOOKS
        if not self._wanted.is_set():
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pyrotask-porter", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
        while self._wanted.wait():
            time.sleep(LOOK_S)
            if self._outbox.is_due(time.monotonic_ns()):
                try:
                    self._hand_in()
                except Exception:
                    log.exception("results could not be handed in while a task runs")
            elif self._looks_left > 0:
                self._looks_left -= 1
            else:
                self._wanted.clear()
                if self._looks_left > 0 or self._outbox:  # it was wanted at this moment
                    self._wanted.set()
