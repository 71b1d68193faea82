"""Threads for what would hold up the event loop: large values, and the objects of others.

They start when there is something to do, up to a bound, and never keep the interpreter alive.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Errands:
    """A few threads that do one thing after the other. Thread-safe.

    Args:
        name: what the threads are called.
        most_threads: how many there are at most; what comes on top waits in line.
    """

    def __init__(self, name: str, most_threads: int) -> None:
        self._name = name
        self._most = most_threads
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._threads = 0

    def run(self, work: Callable[[], object]) -> bool:
        """Have ``work`` called by one of the threads. Returns at once.

        False: it will not be called, since the system gives us no thread, not even one.
        """
        with self._lock:
            is_short = self._threads < min(self._unfinished + 1, self._most)
            if is_short and not self._has_another_thread() and not self._threads:
                return False
            self._unfinished += 1
        self._work.put(work)
        return True

    def stop(self) -> None:
        """Let the threads end when they have done what was asked. Does not wait. Idempotent."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)
            self._threads = 0

    def _has_another_thread(self) -> bool:
        try:
            threading.Thread(target=self._labour, name=self._name, daemon=True).start()
        except RuntimeError as error:  # the next errand tries again
            log.warning("there is no further thread for %s: %s", self._name, error)
            return False
        self._threads += 1
        return True

    def _labour(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except BaseException:  # SystemExit too: the thread is others' as well
                log.exception("an errand of %s failed", self._name)
            with self._lock:
                self._unfinished -= 1
            del work  # whatever it holds is not kept until the next one comes
