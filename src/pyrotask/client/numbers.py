"""The numbers of a session's calls that are done once: see docs/protocol.md."""

from __future__ import annotations

import secrets
import threading
import time

Number = tuple[int, int, int]
"""The session, the number of a call in it, and the low water mark that goes with it."""


class Numbers:
    """Hands out numbers. Thread-safe.

    Args:
        session: whose.
    """

    def __init__(self, session: int) -> None:
        self._session = session
        self._lock = threading.Lock()
        # Whoever takes a session up again must use numbers that were not used before, also not in
        # a message that is still on its way.
        self._last = time.time_ns() // 1000 * 1000 + secrets.randbelow(1000)
        self._open: set[int] = set()
        """Those whose replies are not here yet."""

    def draw(self) -> Number:
        """The next number. The broker remembers its reply, and all later ones, until `done` is called."""
        with self._lock:
            self._last += 1
            self._open.add(self._last)
            return self._session, self._last, min(self._open) - 1

    def done(self, number: Number) -> None:
        """The reply has come, or the number is not needed."""
        with self._lock:
            self._open.discard(number[1])

    def skip(self, seconds: float) -> None:
        """Go on as if the clock were so much ahead."""
        with self._lock:
            self._last += round(seconds * 1e9)
