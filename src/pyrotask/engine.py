"""The engine: one machine behind one lock.

`execute` is the only way in. It takes the lock, runs a command of the machine at the time of
the clock, appends its events to the journal, and answers those whom it woke. Under the lock
there is no disk, no network, no user code, no logging, and nobody waits.

A refused call changes nothing. An error in the middle of a command, which only a bug can bring
about, breaks the engine: everybody gets `BrokerBroken`, now and from then on.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from pyrotask.callers import Caller
from pyrotask.clock import Clock
from pyrotask.core.machine import Machine, Step
from pyrotask.core.model import ConnectionId, Limits, Nanoseconds
from pyrotask.errors import BrokerBroken
from pyrotask.journal import Journal, Ticket
from pyrotask.watchdog import Watchdog

log = logging.getLogger("pyrotask.engine")

Command = Callable[[Machine, Nanoseconds], Any]
"""What is done under the lock. Returns a `Step`, or a plain value if nothing was recorded."""


class Done(NamedTuple):
    """What came of a command: the reply (an exception: refused), durable with the ticket."""

    reply: Any
    ticket: Ticket


class Engine:
    """See the module's text. Thread-safe; the main thread goes through `callers.Hand`."""

    def __init__(self, limits: Limits, clock: Clock, journal: Journal) -> None:
        self.machine = Machine(limits)
        self.journal = journal
        self.lineage = secrets.token_hex(8)
        self._clock = clock
        self._lock = threading.Lock()
        self.watchdog = Watchdog(self, self._lock)
        self._broken: BrokerBroken | None = None
        self._on_broken: list[Callable[[BrokerBroken], None]] = []
        self.execute(lambda m, now: m.start(now, self.lineage))

    def execute(self, command: Command) -> Done:
        """Run a command. Never raises; blocks for as long as others hold the lock.

        The reply may be an exception, or `Parked` if the command named a caller. It must not
        leave this process before the ticket is durable.
        """
        with self._lock:
            if self._broken is not None:
                return Done(self._broken, self.journal.newest)
            try:
                done = self._run(command)
            except Exception as error:  # noqa: BLE001 - a refusal, or the end
                if self.machine.in_step or isinstance(error, BrokerBroken):
                    error = self._break(error)
                done = Done(error, self.journal.newest)
        if isinstance(done.reply, BrokerBroken):
            self._tell_broken(done.reply)
        elif self.watchdog.is_due_to_start:
            self.watchdog.start()
        return done

    def _run(self, command: Command) -> Done:
        result = command(self.machine, self._clock.now())
        reply, ticket = result, self.journal.newest
        if isinstance(result, Step):
            reply = result.reply
            if result.events:
                ticket = self.journal.append(result.events)
            for caller, answer in result.wakes:
                cast("Caller", caller).answer(answer, ticket)
        self.watchdog.look_at(self.machine.deadlines.next_at())
        return Done(reply, ticket)

    def connect(self) -> ConnectionId:
        """A new connection, for calls that come in over it."""
        return cast("ConnectionId", self.execute(lambda m, _: m.connect()).reply)

    def disconnect(self, connection: ConnectionId) -> None:
        """The connection is closed. Idempotent."""
        self.execute(lambda m, now: m.disconnect(now, connection))

    def now(self) -> Nanoseconds:
        """Core time."""
        return self._clock.now()

    def tick(self) -> None:
        """Do everything whose instant has come."""
        self.execute(lambda m, now: m.tick(now))
        self.watchdog.judged()

    def on_broken(self, call: Callable[[BrokerBroken], None]) -> None:
        """Call ``call``, without the lock, when an invariant has broken."""
        self._on_broken.append(call)

    def _break(self, error: Exception) -> BrokerBroken:
        self._broken = broken = BrokerBroken(
            f"{error!r} in the middle of a command, at journal position {self.journal.newest}. The broker "
            "has stopped, since its state cannot be trusted any more; please report this with the log"
        )
        broken.__cause__ = error
        for parking in (self.machine.task_wants, self.machine.result_wants):
            for want in parking:
                cast("Caller", want.caller).answer(broken, self.journal.newest)
        return broken

    def _tell_broken(self, broken: BrokerBroken) -> None:
        calls, self._on_broken = self._on_broken, []
        if calls:
            log.critical("%s", broken, exc_info=broken)
        for call in calls:
            call(broken)
