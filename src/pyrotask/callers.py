"""How threads call the broker, and wait for it.

A caller that has to wait is an object with an ``answer`` method, which the broker calls under
its lock, exactly once. `ThreadCaller` is that for a thread: it waits at a gate of its own, so
that an answer wakes the one thread it is for.

`Hand` works for the main thread, which never takes the broker's lock itself. Python runs signal
handlers in the main thread, between any two of its instructions: Ctrl-C could end a command
half way, and a handler that calls the broker could find the lock held by the very frame that it
interrupted. So the main thread hands its commands over and waits for them; that costs it some
microseconds, and no command is ever cut in two. For the same reason the gate is a bare lock
that is never held by who waits, and not a condition.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from pyrotask.journal import Ticket

T = TypeVar("T")


class Caller(Protocol):
    """Somebody who waits for an answer of the broker."""

    def answer(self, reply: Any, ticket: Ticket) -> None:
        """Take the answer. Called once, under the broker's lock: must not block or call back."""


class Gate:
    """Opened once, by anybody; until then, one thread may wait at it."""

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
    """A thread that waits for an answer."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.reply: Any = None
        self.ticket = Ticket(0)

    def answer(self, reply: Any, ticket: Ticket) -> None:
        """Wake the thread with its reply."""
        self.reply, self.ticket = reply, ticket
        self.gate.open()


class _Job(Generic[T]):
    """One command on its way through the hand."""

    def __init__(self, command: Callable[[], T]) -> None:
        self.command = command
        self.gate = Gate()
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.command()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the main thread
            self.error = error
        self.gate.open()


class Hand:
    """A thread that runs the main thread's commands.

    It starts with the first command and never keeps the interpreter alive. While the
    interpreter finalizes no signal handler runs any more, and no thread: then the commands
    are run at once.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, command: Callable[[], T], undo: Callable[[T], object]) -> T:
        """Run the command there, wait for it, and return or raise what it does.

        When a signal handler raises meanwhile (Ctrl-C), the command is completed, ``undo``
        is run with its result in the same way, and the handler's exception is raised.
        """
        if not self._at_work():
            return command()
        job = _Job(command)
        self._jobs.put(job)
        interrupt: BaseException | None = None
        while True:
            try:
                job.gate.wait()
                break
            except BaseException as error:  # noqa: BLE001 - it is raised again below
                interrupt = error
        if interrupt is not None:
            if job.error is None:
                self.run(lambda: undo(job.result), lambda _: None)  # type: ignore[arg-type]
            raise interrupt
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[return-value]

    def stop(self) -> None:
        """End the thread. Idempotent; the next command starts another."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _at_work(self) -> bool:
        if sys.is_finalizing():
            return False
        if self._thread is None:
            thread = threading.Thread(target=_work, args=(self._jobs,), name="pyrotask-hand", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False  # CPython 3.12 starts no thread once the main thread has ended
            self._thread = thread
        return True


def _work(jobs: queue.SimpleQueue[_Job[Any] | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # its result belongs to the main thread now
