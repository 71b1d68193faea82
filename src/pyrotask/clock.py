"""Core time: one line of nanoseconds that no step of the wall clock can bend.

The core never asks what time it is; whoever calls it brings the time along. These are the
objects to bring it from. Core time begins at the wall clock, so that it goes on after a
restart and on another host, and moves with the monotonic clock, so that nobody is lost
because an administrator set the date.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

_NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Tells core time. Every method may be called from any thread, and never blocks."""

    def now(self) -> int:
        """Return core time in nanoseconds: at least what any earlier call has returned."""
        ...


class SystemClock:
    """The clock of a real run: the wall clock read once, then the monotonic clock.

    Args:
        not_before: the last core time of the run before, in nanoseconds, as the journal has
            it. Time never runs back behind it, also when the wall clock was set back
            meanwhile, or is another host's.
    """

    __slots__ = ("_offset_ns",)

    def __init__(self, not_before: int = 0) -> None:
        self._offset_ns = max(time.time_ns(), not_before) - time.monotonic_ns()

    def now(self) -> int:
        """Return core time in nanoseconds."""
        return time.monotonic_ns() + self._offset_ns


class ManualClock:
    """A clock that stands still until a test moves it.

    Args:
        start: core time at the beginning, in nanoseconds.
    """

    __slots__ = ("_lock", "_now_ns")

    def __init__(self, start: int = 0) -> None:
        self._lock = threading.Lock()
        self._now_ns = start

    def now(self) -> int:
        """Return core time in nanoseconds."""
        return self._now_ns

    def advance(self, seconds: float) -> int:
        """Move time forward at once, without sleeping, and return the new core time.

        Raises:
            ValueError: if `seconds` is negative: time does not run back.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be advanced by {seconds} s: time does not run back")
        with self._lock:
            self._now_ns += round(seconds * _NS_PER_S)
            return self._now_ns
