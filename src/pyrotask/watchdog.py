"""The watchdog: a thread that sleeps until the next deadline, and then has it looked at.

It sleeps on a condition of the engine's lock, so that an earlier deadline wakes it; never for
a fixed time. It starts with the first deadline and does not keep the interpreter alive.

Nobody is lost for *our* silence: when the thread wakes much later than it meant to, the whole
process was stopped or suspended (SIGSTOP, a debugger, a long swap), and the time that passed
counts for nobody. And with an event loop, deadlines are judged only after it has read
everything that had arrived by then (`judge_through`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrotask.core.model import SECOND, Nanoseconds

if TYPE_CHECKING:
    from pyrotask.engine import Engine

STALL_NS: Nanoseconds = SECOND // 2
"""Waking later than this means that the process stood still: a busy machine is never so late."""

NEVER: Nanoseconds = 1 << 63
AWAKE: Nanoseconds = -1


class Watchdog:
    """Looks after the deadlines of an engine. See the module's text."""

    def __init__(self, engine: Engine, lock: threading.Lock) -> None:
        self._engine = engine
        self._alarm = threading.Condition(lock)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._sleeps_until = NEVER
        self._judge: Callable[[], None] | None = None
        self._judging = False

    def look_at(self, at: Nanoseconds | None) -> None:
        """The next deadline is ``at`` now. Call it under the lock."""
        if (at is not None and at < self._sleeps_until) or self._stopped:
            if at is not None and self._sleeps_until is not AWAKE:
                self._sleeps_until = at
            self._alarm.notify()

    @property
    def is_due_to_start(self) -> bool:
        """Whether there is a deadline, and no thread yet to look after it."""
        return self._thread is None and self._sleeps_until != NEVER and not self._stopped

    def start(self) -> None:
        """Start the thread, if it does not run. Call it without the lock."""
        with self._alarm:
            if not self.is_due_to_start:
                return
            self._thread = threading.Thread(target=self._run, name="pyrotask-watchdog", daemon=True)
        with contextlib.suppress(RuntimeError):  # the interpreter ends: nobody waits any more
            self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent; it does not start again. May be called from anywhere."""
        # Also by the garbage collector, in a thread that holds the lock: then whoever holds
        # it wakes the watchdog, in `look_at`.
        self._stopped = True
        if self._alarm.acquire(blocking=False):
            self._alarm.notify()
            self._alarm.release()

    def judge_through(self, judge: Callable[[], None] | None) -> None:
        """Call ``judge`` when a deadline has come, which must have the engine tick soon."""
        with self._alarm:
            self._judge = judge
            self._judging = False
            self._alarm.notify()

    def judged(self) -> None:
        """The engine has ticked."""
        with self._alarm:
            self._judging = False
            self._alarm.notify()

    def _run(self) -> None:
        while self._sleep():
            if self._judge is None:
                self._engine.tick()
            else:
                self._judge()

    def _sleep(self) -> bool:
        """Sleep until the next deadline has come. False: it is over."""
        with self._alarm:
            planned: Nanoseconds | None = None
            while not self._stopped:
                now = self._engine.now()
                if planned is not None and now - planned > STALL_NS:
                    self._engine.machine.postpone_liveness(now - planned)
                at = None if self._judging else self._engine.machine.deadlines.next_at()
                if at is not None and at <= now:
                    self._sleeps_until = AWAKE
                    self._judging = self._judge is not None
                    return True
                planned = at
                self._sleeps_until = NEVER if at is None else at
                self._alarm.wait(None if at is None else (at - now) / SECOND)
            return False
