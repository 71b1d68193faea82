"""The broker: how threads call the engine, and wait for it.

    call   a command that answers at once
    ask    a request that may have to wait: the calling thread is blocked

Every reply waits, outside the lock, until the journal is as durable as its policy says. The
event loop, which is never blocked, uses the engine itself.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from pyrotask.callers import Caller, Hand, ThreadCaller
from pyrotask.clock import Clock, SystemClock
from pyrotask.config import Settings
from pyrotask.core.machine import Machine, Parked, Step
from pyrotask.core.model import Answer, Lease, Nanoseconds
from pyrotask.engine import Command, Done, Engine
from pyrotask.journal import Journal, MemoryJournal

Request = Callable[[Machine, Nanoseconds, "Caller | None"], Step]
"""A command that may park its caller; with None for a caller, it never does."""

ALIVE_CHECK_S = 1.0
"""How often a blocked thread looks whether the client that it serves is still there."""


class Broker:
    """Thread-safe access to one machine, from any thread, the main thread included.

    Args:
        settings: the bounds and periods; None: `Settings.load()`.
        clock: where time comes from.
        journal: where events go; None: nowhere, they live as long as the process.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        self.engine = Engine(self.settings.limits(), clock or SystemClock(), journal or MemoryJournal())
        self._hand = Hand()
        weakref.finalize(self, self.engine.watchdog.stop)
        weakref.finalize(self, self._hand.stop)

    def call(self, command: Command) -> Any:
        """Run a command that answers at once, and return its reply.

        Durable on return. Blocks for the lock and the disk only.

        Raises:
            Refused, TaskManagerTermination: as the command says; nothing was changed.
            BrokerBroken: the broker has stopped.
        """
        return self._conclude(self._execute(command))

    def ask(
        self, request: Request, timeout: float | None = None, alive: Callable[[], bool] | None = None
    ) -> Any:
        """Run a request, and block until it is answered.

        ``timeout`` is in seconds; None: no limit; 0: do not wait. ``alive`` tells whether
        the client that this thread serves is still there; it is asked once a second, and
        before the answer is returned.

        The caller must then call `took` with the reply, or `undo` if it could not use it.

        Raises:
            TimeoutError: nothing came.
            ConnectionAbortedError: the client is gone; what was for it is first in line again.
            Refused, TaskManagerTermination, BrokerBroken: as for `call`.
        """
        caller = ThreadCaller()
        parked = None if timeout is not None and timeout <= 0 else caller
        done = self._execute(lambda m, now: request(m, now, parked))
        if isinstance(done.reply, Parked):
            done = self._wait(caller, done.reply, timeout, alive)
        reply = self._conclude(done)
        if not reply:
            raise TimeoutError("there is nothing yet")
        if alive is not None and not alive():
            self.undo(reply)
            raise ConnectionAbortedError("the client is gone")
        return reply

    def took(self, reply: Any) -> None:
        """The reply has arrived where it should."""
        if isinstance(reply, Answer):
            self.call(lambda m, _: m.acknowledge(reply.task))

    def undo(self, reply: Any) -> None:
        """The reply has not arrived: what it handed out is first in line again."""
        for command in undoing(reply):
            self.call(command)

    def close(self) -> None:
        """Stop the threads of this object, and close the journal. Idempotent.

        Nobody is told: terminate the machine before, if nobody shall go on.
        """
        self.engine.watchdog.stop()
        self._hand.stop()
        self.engine.journal.close()

    def _wait(
        self, caller: ThreadCaller, parked: Parked, timeout: float | None, alive: Callable[[], bool] | None
    ) -> Done:
        try:
            answered = _wait_at_gate(caller, timeout, alive)
        except BaseException:
            # Interrupted, or nobody is there any more. An answer may have come all the same.
            if not self._withdraw(parked):
                self.undo(caller.reply)
            raise
        if not answered and self._withdraw(parked):
            return Done(TimeoutError(f"nothing came within {timeout:g} s"), self.engine.journal.newest)
        return Done(caller.reply, caller.ticket)

    def _withdraw(self, parked: Parked) -> bool:
        return bool(self.call(lambda m, now: m.withdraw(now, parked.want)))

    def _execute(self, command: Command) -> Done:
        if threading.current_thread() is threading.main_thread():
            return self._hand.run(lambda: self.engine.execute(command), self._undo_interrupted)
        return self.engine.execute(command)

    def _undo_interrupted(self, done: Done) -> None:
        for command in undoing(done.reply):
            self.engine.execute(command)

    def _conclude(self, done: Done) -> Any:
        self.engine.journal.wait(done.ticket)
        if isinstance(done.reply, Exception):
            raise done.reply
        return done.reply


def undoing(reply: Any) -> list[Command]:
    """The commands that take back what a reply handed out."""
    if isinstance(reply, Parked):
        return [lambda m, now: m.withdraw(now, reply.want)]
    if isinstance(reply, Answer):
        return [lambda m, now: m.undo_delivery(now, reply.task)]
    if isinstance(reply, tuple):
        return [_releasing(lease) for lease in reversed(reply)]
    return []


def _releasing(lease: Lease) -> Command:
    return lambda m, now: m.undo_lease(now, lease.task, lease.attempt)


def _wait_at_gate(caller: ThreadCaller, timeout: float | None, alive: Callable[[], bool] | None) -> bool:
    if alive is None:
        return caller.gate.wait(timeout)
    left_s = float("inf") if timeout is None else timeout
    while left_s > 0:
        if caller.gate.wait(min(left_s, ALIVE_CHECK_S)):
            return True
        left_s -= ALIVE_CHECK_S
        if not alive():
            raise ConnectionAbortedError("the client is gone")
    return False
