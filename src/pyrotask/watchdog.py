"""The watchdog: a thread that sleeps until the next deadline, and then has it looked at.

It sleeps on a condition of the engine's lock, so that an earlier deadline wakes it; never for
a fixed time. It starts with the first deadline and does not keep the interpreter alive.

Nobody is lost for *our* silence. When this process stood still (SIGSTOP, a debugger, a long swap,
an extension that kept the GIL), the watchdog overslept; whoever runs first after that, it or
a command, notices, and the time counts for nobody. So that a standstill that ended just before a
deadline is noticed too, the watchdog looks up once shortly before: then whatever had come in
has been read when the deadline is judged. And with an event loop, it is judged only after the
loop has read everything that had arrived by then (`judge_through`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrotask.core.model import SECOND, Nanoseconds

if TYPE_CHECKING:
    from pyrotask.engine import Engine

log = logging.getLogger("pyrotask.watchdog")

LATE_NS: Nanoseconds = SECOND // 10
"""Waking later than this means that the process stood still. If it was only a busy machine,
the time since the last command is what nobody is blamed for: next to nothing in a busy broker."""

LOOK_UP_NS: Nanoseconds = SECOND // 2
"""How long before a deadline the watchdog looks up: time to read what came in meanwhile."""

NEVER: Nanoseconds = 1 << 100
AWAKE: Nanoseconds = -1


class Watchdog:
    """Looks after the deadlines of an engine. See the module's text."""

    def __init__(self, engine: Engine, lock: threading.RLock) -> None:
        self._engine = engine
        self._alarm = threading.Condition(lock)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._sleeps_until = NEVER
        """The deadline that it sleeps for, in core time."""
        self._judge: Callable[[], None] | None = None
        self._judging = False
        # By the system's own clock, since this is about the real process:
        self._wakes_by = NEVER
        """When it is awake at the latest, unless the process stands still."""
        self._seen_at = time.monotonic_ns()
        """When this process was last seen running."""

    # --- called by the engine, under the lock ---------------------------------------------

    def notice(self) -> None:
        """The process runs. If it stood still before, nobody's silence counts for that time."""
        now = time.monotonic_ns()
        if now > self._wakes_by:
            self._engine.machine.postpone_liveness(now - self._seen_at)
            self._wakes_by = NEVER
            self._alarm.notify()
        self._seen_at = now

    def look_at(self, at: Nanoseconds | None) -> None:
        """The next deadline is ``at`` now."""
        if at is not None and at < self._sleeps_until:
            self._sleeps_until = at
            self._alarm.notify()
        elif self._stopped:
            self._alarm.notify()

    # --- called without the lock ------------------------------------------------------------

    @property
    def is_due_to_start(self) -> bool:
        """Whether there is a deadline, and no thread yet to look after it."""
        return self._thread is None and self._sleeps_until != NEVER and not self._stopped

    def start(self) -> None:
        """Start the thread, if it does not run."""
        with self._alarm:
            if not self.is_due_to_start:
                return
            self._thread = threading.Thread(target=self._run, name="pyrotask-watchdog", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # The system gives us no thread now: the next command tries again. Or the
            # interpreter ends, and nobody waits any more.
            self._thread = None

    def stop(self) -> None:
        """End the thread. Idempotent; it does not start again. May be called from anywhere."""
        # Also while somebody else holds the lock: then that one wakes it, in `look_at`.
        self._stopped = True
        if self._alarm.acquire(blocking=False):
            self._alarm.notify()
            self._alarm.release()

    def judge_through(self, judge: Callable[[], None] | None) -> None:
        """Call ``judge`` when a deadline has come, which must have the engine tick soon.

        ``judge`` is called in the watchdog's thread, and must not block. None: as before.
        """
        with self._alarm:
            self._judge = judge
            self._judging = False
            self._alarm.notify()

    def judged(self) -> None:
        """The engine has ticked."""
        with self._alarm:
            self._judging = False
            self._alarm.notify()

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while self._sleep():
            judge = self._judge
            if judge is None:
                self._engine.tick()
                continue
            try:
                judge()
            except Exception:  # its loop is gone, and the deadlines are not
                log.exception("a deadline could not be judged by the event loop")
                self._engine.tick()

    def _sleep(self) -> bool:
        """Sleep until the next deadline has come. False: it is over."""
        with self._alarm:
            while not self._stopped:
                self.notice()
                now = self._engine.now()
                at = None if self._judging else self._engine.machine.deadlines.next_at()
                if at is not None and at <= now:
                    self._sleeps_until = AWAKE
                    self._judging = self._judge is not None
                    return True
                self._sleeps_until = NEVER if at is None else at
                self._wait(None if at is None else at - now)
            return False

    def _wait(self, left: Nanoseconds | None) -> None:
        if left is None:
            self._alarm.wait()
            return
        nap = left - LOOK_UP_NS if left > LOOK_UP_NS else left
        self._wakes_by = time.monotonic_ns() + nap + LATE_NS
        self._alarm.wait(min(nap / SECOND, threading.TIMEOUT_MAX))
        # Left as it is if the nap was overslept: then `notice` must see it.
        if time.monotonic_ns() <= self._wakes_by:
            self._wakes_by = NEVER
