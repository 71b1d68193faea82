"""The engine: one machine behind one lock.

`execute` is the only way in. It takes the lock, runs a command of the machine at the time of
the clock, appends its events to the journal, and answers those whom it woke. Under the lock
there is no disk, no network, no user code, no logging, and nobody waits.

A refused call changes nothing. An error in the middle of a command, which only a bug can bring
about, breaks the engine: everybody gets `BrokerBroken`, now and from then on.

There is one kind of user code that can run anywhere: a finalizer (``__del__``), which Python's
garbage collector may call between any two instructions, also those under the lock. What such
a one wants done is put off until the command at hand is over.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

from pyrotask.callers import Caller
from pyrotask.clock import Clock
from pyrotask.core.machine import Machine, Parked, Step
from pyrotask.core.model import Answer, ConnectionId, Lease, Limits, Nanoseconds, NewTask, Payload
from pyrotask.core.state import DurableState
from pyrotask.errors import BrokerBroken, PyrotaskError, QueueFull
from pyrotask.journal import PLENTY_BYTES, Journal, Ticket
from pyrotask.watchdog import Watchdog

log = logging.getLogger("pyrotask.engine")

Command = Callable[[Machine, Nanoseconds], Any]
"""What is done under the lock. Returns a `Step`, or a plain value if nothing was recorded."""

REFUSALS = (PyrotaskError, TypeError, ValueError, LookupError)
"""What a command may raise before its first event; anything else is a broken invariant."""


class Done(NamedTuple):
    """What came of a command: the reply (an exception: refused), durable with the ticket."""

    reply: Any
    ticket: Ticket


class Engine:
    """See the module's text. Thread-safe; the main thread goes through `callers.Hand`.

    Args:
        limits: the bounds and periods of the machine's rules.
        clock: tells core time; with a state, not before the last time in it.
        journal: where events go.
        state: what the journal had when it was opened; None: nothing.
    """

    def __init__(
        self, limits: Limits, clock: Clock, journal: Journal, state: DurableState | None = None
    ) -> None:
        self.machine: Machine = _RoomyMachine(limits, state, journal)
        self.journal = journal
        self.lineage = journal.lineage
        self._clock = clock
        # Reentrant so that `is_held_here` can be asked. Nobody ever enters twice.
        self._lock = threading.RLock()
        self.watchdog = Watchdog(self, self._lock)
        self._later: deque[Command] = deque()
        self._unreached: list[Any] = []
        self._broken: BrokerBroken | None = None
        self._on_broken: list[Callable[[BrokerBroken], None]] = []
        self._is_told = False
        self.execute(lambda m, now: m.start(now, self.lineage))
        journal.on_broken(_weakly(self._break_with))

    def execute(self, command: Command) -> Done:
        """Run a command. Never raises; blocks for as long as others hold the lock.

        The reply may be an exception, or `Parked` if the command named a caller. It must not
        leave this process before the ticket is durable. In a thread that is inside `execute`
        already (in a finalizer) the command is put off, and the reply is None.
        """
        if self.is_held_here:
            self._later.append(command)
            return Done(None, self.journal.newest)
        # While the interpreter ends, a thread that was stopped for good may hold the lock.
        if not self._lock.acquire(blocking=not sys.is_finalizing()):
            return Done(RuntimeError("the interpreter ends, and the broker has ended"), Ticket(0))
        try:
            self._catch_up()
            done = self._run(command)
            self._catch_up()
        finally:
            self._lock.release()
        self._follow_up()
        return done

    def execute_later(self, command: Command) -> None:
        """Run the command before anybody's next one, whoever that is. Never blocks.

        Its reply is dropped, and it must not refuse. Nothing can interrupt this half way.
        """
        self._later.append(command)

    @property
    def is_held_here(self) -> bool:
        """Whether this thread is inside the engine: then it runs a finalizer, or a command."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001

    def _catch_up(self) -> None:
        while self._later:
            self._run(self._later.popleft())

    def _run(self, command: Command) -> Done:
        if self._broken is not None:
            return Done(self._broken, self.journal.newest)
        try:
            self.watchdog.notice()
            done = self._conclude(command(self.machine, self._clock.now()))
            self.watchdog.look_at(self.machine.deadlines.next_at())
            return done
        except Exception as error:  # noqa: BLE001 - a refusal, or the end
            if self.machine.in_step or isinstance(error, BrokerBroken) or not isinstance(error, REFUSALS):
                error = self._break(error)
            return Done(error, self.journal.newest)
        except BaseException as error:
            if self.machine.in_step:
                self._break(error)
            raise

    def _conclude(self, result: Any) -> Done:
        if not isinstance(result, Step):
            return Done(result, self.journal.newest)
        ticket = self.journal.append(result.events) if result.events else self.journal.newest
        for caller, reply in result.wakes:
            try:
                cast("Caller", caller).answer(reply, ticket)
            except Exception:  # noqa: BLE001 - the others must be told all the same
                self._unreached.append(reply)
        return Done(result.reply, ticket)

    def _follow_up(self) -> None:
        """What a command has brought about, and must not be done under the lock."""
        while self._unreached:
            for undo in undoing(self._unreached.pop()):
                self.execute(undo)
        if self._broken is not None:
            self._tell_broken(self._broken)
        elif self.watchdog.is_due_to_start:
            self.watchdog.start()

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
        """Call ``call`` once, without the lock, when an invariant has broken; now, if one has."""
        with self._lock:
            self._on_broken.append(call)
        self._follow_up()

    def forget_who_is_told(self) -> None:
        """Drop those of `on_broken`: else they, and what they belong to, are kept for ever."""
        with self._lock:
            self._on_broken.clear()

    def _break_with(self, broken: BrokerBroken) -> None:
        def fail(_machine: Machine, _now: Nanoseconds) -> None:
            raise broken

        self.execute(fail)

    def _break(self, error: BaseException) -> BrokerBroken:
        what = str(error) if isinstance(error, BrokerBroken) else f"{error!r} in the middle of a command"
        self._broken = broken = BrokerBroken(
            f"{what}, at journal position {self.journal.newest}. The broker has stopped, since its state "
            "cannot be trusted any more; please report this with the log"
        )
        broken.__cause__ = error
        self.watchdog.stop()
        for parking in (self.machine.task_wants, self.machine.result_wants):
            for want in parking:
                with contextlib.suppress(Exception):
                    cast("Caller", want.caller).answer(broken, self.journal.newest)
        return broken

    def _tell_broken(self, broken: BrokerBroken) -> None:
        with self._lock:
            calls, self._on_broken = self._on_broken, []
            is_news, self._is_told = not self._is_told, True
        if is_news:
            log.critical("%s", broken, exc_info=broken)
        for call in calls:
            call(broken)


class _RoomyMachine(Machine):
    """A machine that takes new tasks on only while there is room for what becomes of them.

    Everything else is done for as long as it can be done at all: the journal keeps a reserve on
    its disk for the answers to the tasks that were taken on before, and so does the memory.
    """

    def __init__(self, limits: Limits, state: DurableState | None, journal: Journal) -> None:
        super().__init__(limits, state)
        self._journal = journal

    def submit(self, now: Nanoseconds, tag: str, payload: Payload, **kwargs: Any) -> Step:
        """Take a task on, if there is room."""
        self._check_room([payload])
        return super().submit(now, tag, payload, **kwargs)

    def submit_many(self, now: Nanoseconds, items: Sequence[NewTask], **kwargs: Any) -> Step:
        """Take all these tasks on, if there is room."""
        self._check_room(item.payload for item in items)
        return super().submit_many(now, items, **kwargs)

    def _check_room(self, payloads: Iterable[Payload]) -> None:
        if self.state.terminated:
            return  # that is what the machine will say
        room = self._journal.room_bytes if self._journal.has_room else 0
        # Adding up every size takes a while, and most of the time there is plenty.
        if room <= 0 or (room < PLENTY_BYTES and sum(payload.nbytes for payload in payloads) > room):
            raise QueueFull(
                "the disk of the journal is almost full, and what is left is kept for the answers to the "
                "tasks that wait: make room there, and submit again"
            )
        held, most = self._result_bytes(), self.limits.max_result_bytes
        if held >= most:
            raise QueueFull(
                f"{held} bytes of results are in the broker's memory, and max_result_bytes is {most}: "
                "submit again when some of them are collected, or start the broker with a higher "
                "max_result_bytes, or with a journal"
            )

    def _result_bytes(self) -> int:
        """How much memory the answers take that are there."""
        blocks = 0 if self._journal.keeps_blocks else self.state.result_block_bytes
        return self.state.result_bytes + blocks


def _weakly(call: Callable[[BrokerBroken], None]) -> Callable[[BrokerBroken], None]:
    """Call that for as long as its object is there: who is told must not keep it."""
    reference = weakref.WeakMethod(call)

    def call_if_there(broken: BrokerBroken) -> None:
        if (method := reference()) is not None:
            method(broken)

    return call_if_there


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
