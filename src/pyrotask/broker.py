"""The broker: how threads call the engine, and wait for it.

    call   a command that answers at once
    ask    a request that may have to wait: the calling thread is blocked

Every reply waits, outside the lock, until the journal is as durable as its policy says. The
event loop, which is never blocked, uses the engine itself.

What is handed out by `ask` has either arrived with the caller, or is first in line again:
whatever happens on the way (Ctrl-C, a client that is gone, a value that cannot be decoded), it
is given up in one place, `_Asking.abandon`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pyrotask.callers import Caller, Hand, ThreadCaller
from pyrotask.clock import Clock, SystemClock
from pyrotask.config import Settings
from pyrotask.core.explain import explain
from pyrotask.core.machine import Machine, Parked, Step
from pyrotask.core.model import Answer, Nanoseconds
from pyrotask.engine import Command, Done, Engine, undoing
from pyrotask.errors import BrokerBroken, TaskRaisedException
from pyrotask.journal import Journal, MemoryJournal, Opened, Policy, Ticket, open_journal

log = logging.getLogger("pyrotask.broker")

Request = Callable[[Machine, Nanoseconds, "Caller | None"], Step]
"""A command that may park its caller; with None for a caller, it never does."""

T = TypeVar("T")

LOOK_S = 1.0
"""How often a blocked thread looks up. One that serves a client looks whether that is still there.
And the main thread lets its signal handlers run: a signal that comes at the very moment when it
begins to wait does not wake it (and on Windows, none does)."""


def _as_it_is(reply: Any) -> Any:
    return reply


class Broker:
    """Thread-safe access to one machine, from any thread, the main thread included.

    Args:
        settings: the bounds and periods; None: `Settings.load()`.
        clock: where time comes from.
        journal: where events go: the path of a journal (see `open_with`), or an empty one;
            None: nowhere, they live as long as the process.

    Raises:
        JournalError, OSError: the journal cannot be used; see `journal.open_journal`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        journal: Journal | str | os.PathLike[str] | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        opened: Opened | None = None
        if isinstance(journal, str | os.PathLike):
            opened = open_with(self.settings, journal)
            journal = opened.journal
        self.engine = Engine(
            self.settings.limits(),
            clock or SystemClock(0 if opened is None else opened.last_at),
            journal or MemoryJournal(),
            None if opened is None else opened.state,
        )
        self._waiting = _Waiting()
        self.engine.on_broken(self._waiting.tell)
        self._hand = Hand()
        for stop in (self.engine.watchdog.stop, self._hand.stop):
            # Not at exit: until the very end, `atexit` functions may call us.
            weakref.finalize(self, stop).atexit = False

    def call(self, command: Command, present: Callable[[Any], T] = _as_it_is) -> T | None:
        """Run a command that answers at once, and return what ``present`` makes of its reply.

        Durable on return. Blocks for the lock and the disk only. Called by a finalizer that
        interrupted another command, it is done right after that, and returns None.

        Raises:
            Refused, TaskManagerTermination: as the command says; nothing was changed.
            BrokerBroken: the broker has stopped.
        """
        if self.engine.is_held_here:
            self.engine.execute_later(command)
            return None
        done = self._run(lambda: self._durable(self.engine.execute(command)))
        if isinstance(done.reply, Exception):
            raise _own(done.reply)
        return present(done.reply)

    def ask(
        self,
        request: Request,
        timeout: float | None = None,
        alive: Callable[[], bool] | None = None,
        present: Callable[[Any], T] = _as_it_is,
        *,
        says_why: bool = False,
    ) -> T:
        """Run a request, block until it is answered, and return what ``present`` makes of it.

        ``timeout`` is in seconds; None: no limit; 0: do not wait. ``alive`` tells whether
        the client that this thread serves is still there; it is asked once a second, and
        before the answer is presented. When ``present`` raises `TaskRaisedException`, that is
        the answer; when it raises anything else, the answer stays. ``says_why``: a wait of more
        than ``explain_after_s`` logs a warning that says what the tasks wait for.

        Raises:
            TimeoutError: nothing came.
            ConnectionAbortedError: the client is gone; what was for it is first in line again.
            Refused, TaskManagerTermination, BrokerBroken: as for `call`.
        """
        if self.engine.is_held_here:
            raise RuntimeError(
                "a finalizer (__del__) cannot wait for the task manager: it may be holding it up"
            )
        asking = _Asking(self.engine, request, may_wait=timeout is None or timeout > 0)
        try:
            self._waiting.add(asking.caller)
            reply = self._reply(asking, timeout, alive, says_why=says_why)
            self._waiting.remove(asking.caller)
            if not isinstance(reply, Exception):
                value = present(reply)
                asking.has_arrived()
                return value
        except TaskRaisedException:
            asking.has_arrived()
            raise
        except BaseException:
            asking.is_given_up = True
            self._waiting.remove(asking.caller)
            self._run(asking.abandon)
            raise
        raise _own(reply)

    def close(self) -> None:
        """Stop the watchdog, and close the journal. Idempotent.

        Nobody is told: terminate the machine before, if nobody shall go on.
        """
        self.engine.watchdog.stop()
        self._run(lambda: self.engine.execute(lambda _m, _now: None))  # whatever was put off
        self.engine.journal.close()
        self._run(self.engine.forget_who_is_told)

    def _reply(
        self, asking: _Asking, timeout: float | None, alive: Callable[[], bool] | None, *, says_why: bool
    ) -> Any:
        """The answer to the request; an exception if nothing was handed out."""
        done = self._run(lambda: self._durable(asking.begin()))
        if isinstance(done.reply, Parked):
            answered = self._wait(asking.caller, timeout, alive, says_why=says_why)
            if not answered and self._run(asking.withdraw):
                return TimeoutError(f"nothing came within {timeout:g} s")
            done = self._run(lambda: self._durable(asking.answer()))
        if not done.reply:
            return TimeoutError("there is nothing yet")
        if alive is not None and not isinstance(done.reply, Exception) and not alive():
            raise ConnectionAbortedError("the client is gone")
        return done.reply

    def _wait(
        self, caller: ThreadCaller, timeout: float | None, alive: Callable[[], bool] | None, *, says_why: bool
    ) -> bool:
        patience_s = self.settings.explain_after_s
        if says_why and (timeout is None or timeout > patience_s):
            if _wait_at_gate(caller, patience_s, alive):
                return True
            sentences: list[str] | None = self.call(lambda m, now: [one.sentence for one in explain(m, now)])
            for sentence in sentences or ():
                log.warning("%s", sentence)
            timeout = None if timeout is None else timeout - patience_s
        return _wait_at_gate(caller, timeout, alive)

    def _durable(self, done: Done) -> Done:
        if not isinstance(done.reply, Parked):
            self.engine.journal.wait(done.ticket)
        return done

    def _run(self, work: Callable[[], T]) -> T:
        """Do it here, or in the hand if this is the main thread."""
        return self._hand.run(work) if _is_main_thread() else work()


def open_with(settings: Settings, path: str | os.PathLike[str]) -> Opened:
    """Open the journal in that folder, made if it is missing, the way the settings say.

    Blocks while it is read: about six seconds for a million waiting tasks. Raises as
    `journal.open_journal` does.
    """
    return open_journal(
        Path(path).expanduser(),
        Policy(settings.journal_policy),
        interval_s=settings.journal_interval_s,
        reserve_bytes=settings.journal_reserve_bytes,
        recent_bytes=settings.journal_recent_bytes,
        recent_shared_bytes=settings.arena_bytes,
    )


class _Asking:
    """One request that may have to wait, and what was handed out for it.

    For the main thread, all methods but `has_arrived` run in the hand, one after the other. So
    `abandon` finds the others done or not begun, wherever an interrupt has struck.
    """

    __slots__ = ("_done", "_engine", "_may_wait", "_request", "caller", "is_given_up")

    def __init__(self, engine: Engine, request: Request, *, may_wait: bool) -> None:
        self._engine = engine
        self._request = request
        self._may_wait = may_wait
        self._done = Done(None, Ticket(0))
        self.caller = ThreadCaller()
        self.is_given_up = False
        """Set it before `abandon`."""

    def begin(self) -> Done:
        caller = self.caller if self._may_wait else None
        self._done = self._engine.execute(lambda m, now: self._request(m, now, caller))
        return self._done

    def answer(self) -> Done:
        """What the caller was told. It must have been."""
        self._done = Done(self.caller.reply, self.caller.ticket)
        return self._done

    def withdraw(self) -> bool:
        """Wait no longer. False: an answer has come."""
        parked = self._done.reply
        return self._engine.execute(lambda m, now: m.withdraw(now, parked.want)).reply is True

    def has_arrived(self) -> None:
        """The answer is where it should be. Does not block."""
        # Said now, done before anybody's next command: so no interrupt can strike between "the
        # broker has forgotten it" and "the caller has it".
        if isinstance(self._done.reply, Answer):
            self._engine.execute_later(self._acknowledge)

    def _acknowledge(self, machine: Machine, _now: Nanoseconds) -> Step | None:
        return None if self.is_given_up else machine.acknowledge(self._done.reply.task)

    def abandon(self) -> None:
        """Whatever was, or will be, handed out for this is first in line again."""
        if isinstance(self._done.reply, Parked) and not self.withdraw():
            self.answer()
        for command in undoing(self._done.reply):
            self._engine.execute(command)


class _Waiting:
    """The threads that wait, to be told when the broker breaks. Knows no broker."""

    def __init__(self) -> None:
        self._callers: set[ThreadCaller] = set()
        self.add = self._callers.add
        self.remove = self._callers.discard

    def tell(self, broken: BrokerBroken) -> None:
        for caller in list(self._callers):
            caller.answer(broken, Ticket(0))


def _own(error: Exception) -> Exception:
    """The error for this thread alone: raising one object in several mixes up their tracebacks."""
    if not isinstance(error, BrokerBroken):
        return error
    own = BrokerBroken(*error.args)
    own.__cause__ = error
    return own


def _is_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def _wait_at_gate(caller: ThreadCaller, timeout: float | None, alive: Callable[[], bool] | None) -> bool:
    if alive is None and not _is_main_thread():
        return caller.gate.wait(timeout)
    until = float("inf") if timeout is None else time.monotonic() + timeout
    while True:
        left_s = until - time.monotonic()
        if caller.gate.wait(min(left_s, LOOK_S)):
            return True
        if left_s <= LOOK_S:
            return False
        if alive is not None and not alive():
            raise ConnectionAbortedError("the client is gone")


__all__ = ["Broker", "Request", "open_with", "undoing"]
