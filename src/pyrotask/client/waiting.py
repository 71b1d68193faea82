"""A condition that a Ctrl-C leaves in order."""

from __future__ import annotations

import threading


class Condition(threading.Condition):
    """As `threading.Condition`, but whoever leaves a wait has the lock, also after a Ctrl-C.

    It may come when the lock is released and nothing has been waited for yet: then the ``with`` around that
    would end with a RuntimeError in its place.

    Args:
        lock: one that knows its owner.
    """

    def __init__(self, lock: threading.RLock) -> None:
        super().__init__(lock)

    def wait(self, timeout: float | None = None) -> bool:
        """See `threading.Condition.wait`."""
        try:
            return super().wait(timeout)
        finally:
            if not self._is_owned():  # type: ignore[attr-defined] # it has it of its lock
                self.acquire()
