"""How threads call the broker, and wait for it.

A caller that has to wait is an object with an ``answer`` method, which the broker calls under
its lock, once. `ThreadCaller` is that for a thread: it waits at a gate of its own, so that an
answer wakes the one thread it is for.

`Hand` works for the main thread, which never takes the broker's lock itself. Python runs signal
handlers in the main thread, between any two of its instructions: Ctrl-C could end a command
half way, and a handler that calls the broker could find the lock held by the very frame that it
interrupted. So the main thread hands its commands over and waits for them; that costs it some tens of
microseconds, and no command is ever cut in two. For the same reason the gate is a bare lock
that is never held by who waits, and not a condition.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast

from pyrotask.journal import Ticket

T = TypeVar("T")


class Caller(Protocol):
    """Somebody who waits for an answer of the broker."""

    def answer(self, reply: Any, ticket: Ticket) -> None:
        """Take the answer. Called once, under the broker's lock: must not block or call back.

        If it raises, the caller counts as gone, and what it was handed is first in line again.
        """


class Gate:
    """Opened once, by anybody; until then, one thread may wait at it."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed = threading.Lock()
        self._closed.acquire()

    def open(self) -> None:
        """Let the waiting thread through. Call it once."""
        self._closed.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Block for at most ``timeout`` seconds (None: for ever). False: it is still closed."""
        seconds = -1.0 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        return self._closed.acquire(timeout=seconds)


class ThreadCaller:
    """A thread that waits for an answer. The first one counts."""

    __slots__ = ("_is_answered", "gate", "reply", "ticket")

    def __init__(self) -> None:
        self.gate = Gate()
        self.reply: Any = None
        self.ticket = Ticket(0)
        self._is_answered = False

    def answer(self, reply: Any, ticket: Ticket) -> None:
        """Wake the thread with its reply. Call it under the broker's lock."""
        if not self._is_answered:
            self.reply, self.ticket, self._is_answered = reply, ticket, True
            self.gate.open()


class _Job(Generic[T]):
    """One piece of work on its way through the hand."""

    __slots__ = ("_work", "error", "gate", "result")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.gate = Gate()
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the main thread
            self.error = error
        self.gate.open()


class Hand:
    """A thread that runs what the main thread wants done, in the order of wanting.

    It starts at once, so that no signal handler ever finds it half started, and never keeps
    the interpreter alive. Where there is no such thread (while the interpreter ends, after a
    fork, when the system gives us none), the main thread does the work itself.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(self._jobs,), name="pyrotask-hand", daemon=True)
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def run(self, work: Callable[[], T]) -> T:
        """Have the work done, wait for it, and return or raise what it does.

        When a signal handler raises meanwhile (Ctrl-C), that is raised at once. The work is
        then completed all the same if it was handed over, and before anything that is
        handed over later.
        """
        if sys.is_finalizing() or not self._thread.is_alive():
            return work()
        job = _Job(work)
        self._jobs.put(job)
        job.gate.wait()
        if job.error is not None:
            raise job.error
        return cast("T", job.result)

    def stop(self) -> None:
        """End the thread, when nobody can call `run` any more. May be called from anywhere."""
        self._jobs.put(None)


def _work(jobs: queue.SimpleQueue[_Job[Any] | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # its result belongs to the main thread now
