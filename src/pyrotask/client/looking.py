"""Which tasks are at work? Asked when somebody wants to know whether a future is running.

Nobody else needs to know it, so no message of the broker tells it unasked. What it said holds for a
moment, for the tasks with numbers beside it as well: so a loop over a thousand futures asks once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyrotask.client.link import Stopped
from pyrotask.errors import PyrotaskError

if TYPE_CHECKING:
    from pyrotask.client.link import Link
    from pyrotask.client.near import NearLink

FRESH_S = 0.1
"""For how long an answer holds."""

AT_ONCE = 1_000
"""Numbers in one question: what the broker lists in one go."""

PATIENCE_S = 1.0
"""How long one question may take; a connection for it may take so long as well."""

AWAY_S = 10.0
"""After a question without an answer, none is asked for so long: whoever asks in a loop must get on."""


class _Seen(NamedTuple):
    at: float
    running: frozenset[int]


class Looking:
    """Asks, over a connection of its own. Thread-safe.

    Args:
        new_link: makes the connection, when the first question is asked.
        session: whose tasks these are.
    """

    def __init__(self, new_link: Callable[[], Link | NearLink], session: int) -> None:
        self._new_link: Callable[[], Link | NearLink] | None = new_link
        """None: it is closed."""
        self._session = session
        self._lock = threading.Lock()
        self._link: Link | NearLink | None = None
        self._seen: dict[int, _Seen] = {}
        """By the first of `AT_ONCE` numbers."""
        self._not_before = 0.0
        self._pid = os.getpid()

    def is_running(self, task: int) -> bool:
        """Whether a worker has this task; some `FRESH_S` old. False if the broker does not say so in time."""
        first = task - task % AT_ONCE
        if self._pid != os.getpid() or not self._lock.acquire(timeout=PATIENCE_S):
            return False
        try:
            seen = self._seen.get(first)
            if seen is None or time.monotonic() - seen.at > FRESH_S:
                seen = self._look(first)
            return task in seen.running
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ask no more. Idempotent."""
        with self._lock:
            self._new_link = None
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def _look(self, first: int) -> _Seen:
        now = time.monotonic()
        self._seen = {start: seen for start, seen in self._seen.items() if now - seen.at <= FRESH_S}
        if self._new_link is None or now < self._not_before:
            return _Seen(now, frozenset())
        which = {
            "tasks": list(range(first, first + AT_ONCE)),
            "states": ["running"],
            "session": self._session,
        }
        try:
            self._link = self._link or self._new_link()
            listed = self._link.call_once("tasks", which, AT_ONCE, timeout_s=PATIENCE_S)["tasks"]
        except (PyrotaskError, OSError, Stopped):  # the session's threads say what is wrong
            self._not_before = time.monotonic() + AWAY_S
            return _Seen(now, frozenset())
        seen = self._seen[first] = _Seen(time.monotonic(), frozenset(each["task"] for each in listed))
        return seen
