"""One call on its way through the loop, from its message to its reply.

    read      decode the message, check the call: a `Request`
    execute   under the engine's lock; or park, and be answered later
    present   make the return value, and encode it
    send      once the journal is as durable as it promises

All of it runs in the loop's thread, but for this: `answer` is called by whoever has what a
parked call waits for, under the lock; and large values are read and presented by the hub's
errands. What was handed out and cannot be sent any more is undone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from pyrotask.broker import undoing
from pyrotask.core.endings import values_of
from pyrotask.core.machine import Machine, Parked
from pyrotask.core.model import (
    Answer,
    Delivered,
    Lease,
    Nanoseconds,
    Payload,
    Peeked,
    TaskNumber,
    WantId,
)
from pyrotask.engine import Command
from pyrotask.errors import TaskRaisedException
from pyrotask.reference import Origin, Request
from pyrotask.remote import wire
from pyrotask.remote.serializing import Codec, RawCall, revived
from pyrotask.remote.services import Service, request_of

if TYPE_CHECKING:
    from pyrotask.journal import Ticket
    from pyrotask.remote.connection import Connection
    from pyrotask.remote.hub import Hub

log = logging.getLogger(__name__)

WITHOUT_VALUES = frozenset({type(None), bool, int, str, dict})
"""Kinds of replies that have no values of users in them: most of them, and it is asked for each."""

TAKEN_AWAY = (Answer, tuple)
"""Kinds of replies that nobody else can be given: an answer, and leases."""

READ_AT_ONCE_BYTES = 64 * 1024
"""Values that the loop itself reads from files, which takes microseconds. More is an errand."""


class Elsewhere(NamedTuple):
    """The call is for an object that is none of our services."""


class Batch(NamedTuple):
    """Several calls in one message."""

    service: Service
    calls: RawCall


class Outcome(NamedTuple):
    """What is to be sent."""

    data: bytes
    flags: int = 0
    is_taken: bool = True
    """Whether what was handed out is in it; else it has to be undone."""


class Turn:
    """A call over a connection. See the module's text.

    Args:
        connection: where it came from.
        message: the call.
        codec: of its serializer.
    """

    __slots__ = (
        "_body", "_codec", "_connection", "_handed_out", "_header", "_hub", "_outcome", "_request", "_timer",
        "_want",
    )  # fmt: skip

    def __init__(self, connection: Connection, message: wire.Message, codec: Codec) -> None:
        self._connection = connection
        self._hub: Hub = connection.hub
        self._header = message.header
        self._body: wire.Message | None = message
        self._codec = codec
        self._request: Request | None = None
        self._want: WantId | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._handed_out: list[Any] = []
        """Replies that have to be taken over, or undone."""
        self._outcome: Outcome | None = None

    @property
    def is_parked(self) -> bool:
        """Whether it waits for something that others have to do."""
        return self._want is not None

    def begin(self) -> None:
        """Take the call on. What comes of it is told by `Connection.over`."""
        if self._header.size > self._codec.large_bytes:  # annotations too: each is looked at
            self._hub.run_large(self._read, self._act)
        else:
            self._act(self._read())

    def abandon(self) -> None:
        """The connection is closed, and its wants with it. What is on its way will be undone."""
        if self.is_parked:
            self._stop_waiting()
            self._connection.over(self)

    def undo(self) -> None:
        """What was handed out and not been sent is first in line again. Idempotent."""
        replies, self._handed_out = self._handed_out, []
        self._hub.unsent.discard(self)
        for reply in reversed(replies):
            for command in undoing(reply):
                self._hub.engine.execute(command)

    # --- read -----------------------------------------------------------------------------

    def _read(self) -> Request | Batch | Elsewhere | Exception:
        """Decode and check. Runs in any thread."""
        message = self._body
        assert message is not None
        try:
            if message.header.annotations_bytes:
                wire.check_annotations(message)
            call = self._codec.load_call(message.data)
            service = self._hub.services.get(call.object_id)
            if service is None:
                return Elsewhere()
            if not service.is_opaque:
                call = revived(call, message.data)
            if message.header.flags & wire.BATCH:
                return Batch(service, call)
            return request_of(service, call, self._origin(service), self._codec)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's arguments bring about
            return error

    def _origin(self, service: Service) -> Origin:
        return self._connection.origin(None if service.is_opaque else self._codec.name)

    def _act(self, found: Request | Batch | Elsewhere | Exception) -> None:
        message, self._body = self._body, None  # a parked call keeps nothing of it
        if type(found) is Request:
            self._execute(found)
        elif isinstance(found, Exception):
            self.refuse(found, self._hub.engine.journal.newest)
        elif isinstance(found, Batch):
            self._hub.run_batch(self, found, self._origin(found.service), self._codec)
        else:
            assert message is not None
            self._connection.pass_on(message, self)

    # --- execute, or wait -------------------------------------------------------------------

    def _execute(self, request: Request) -> None:
        if self.ignores(request):
            self._connection.over(self)
            return
        self._request = request
        caller = self if request.blocks and request.timeout != 0 else None
        unheard, self._connection.unheard = self._connection.unheard, None

        def command(machine: Machine, now: Nanoseconds) -> Any:
            if unheard is not None:
                machine.hear(now, unheard)
            return request.command(machine, now, caller)

        reply, ticket = self._hub.engine.execute(command)
        if type(reply) is Parked:
            self._wait(reply.want, request.timeout)
        else:
            self._hub.deliver_first()
            self._present(reply, ticket)

    def _wait(self, want: WantId, timeout_s: float | None) -> None:
        self._want = want
        self._connection.read_on()  # or its end would not be seen
        if timeout_s is not None:
            self._timer = self._hub.loop.call_later(timeout_s, self._time_out, timeout_s)

    def answer(self, reply: Any, ticket: Ticket) -> None:
        """Take the answer to a parked call. Called once, by any thread, under the engine's lock."""
        self._hub.post(self._answered, reply, ticket)

    def _answered(self, reply: Any, ticket: Ticket) -> None:
        self._stop_waiting()
        if self._connection.is_there():
            self._present(reply, ticket)
            return
        self._handed_out.append(reply)
        self.undo()
        self._connection.end()
        self._connection.over(self)

    def _time_out(self, timeout_s: float) -> None:
        want = self._want
        if want is None:
            return
        done = self._hub.engine.execute(lambda m, now: m.withdraw(now, want))
        if done.reply is True:  # else the answer is on its way
            self._stop_waiting()
            self.refuse(TimeoutError(f"nothing came within {timeout_s:g} s"), done.ticket)

    def _stop_waiting(self) -> None:
        self._want = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- present ----------------------------------------------------------------------------

    def _present(self, reply: Any, ticket: Ticket) -> None:
        request = self._request
        assert request is not None
        if isinstance(reply, Exception):
            self.refuse(reply, ticket)
            return
        if request.blocks:
            if not reply:
                self.refuse(TimeoutError("there is nothing yet"), ticket)
                return
            self.hand_out(reply)
        if type(reply) not in WITHOUT_VALUES and is_large(
            reply, self._codec.large_bytes, by_reference=self._opens_ours
        ):
            self._hub.run_large(lambda: self._encode(reply), lambda outcome: self.conclude(outcome, ticket))
        else:
            self.conclude(self._encode(reply), ticket)

    @property
    def _opens_ours(self) -> bool:
        """Whether it is sent references to what it can read itself."""
        visitor = self._connection.visitor
        return visitor is not None and visitor.opens_ours

    def _encode(self, reply: Any) -> Outcome:
        """Make the return value and encode it. Runs in any thread."""
        assert self._request is not None
        try:
            value = self._request.present(reply)
            return Outcome(checked(self._codec.dumps(value, by_reference=self._opens_ours)))
        except TaskRaisedException as error:
            return Outcome(self._codec.dump_error(error), wire.EXCEPTION)
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is encoded
            return Outcome(self._codec.dump_error(error), wire.EXCEPTION, is_taken=False)

    # --- send ---------------------------------------------------------------------------------

    def ignores(self, request: Request) -> bool:
        """Whether what it hands out would get lost, since its sender waits for no answer."""
        if not (request.blocks and self._header.is_oneway):
            return False
        log.info("a oneway call that hands something out is ignored: nobody would get it")
        return True

    def hand_out(self, reply: Any) -> None:
        """If the reply takes something away from others: see that it arrives, or is undone."""
        if isinstance(reply, TAKEN_AWAY):
            self._handed_out.append(reply)
            self._hub.unsent.add(self)

    def refuse(self, error: Exception, ticket: Ticket) -> None:
        """Answer with an error."""
        if self._header.is_oneway:
            log.info("a oneway call has failed: %s", error)
        self.conclude(Outcome(self._codec.dump_error(error), wire.EXCEPTION), ticket)

    def conclude(self, outcome: Outcome, ticket: Ticket) -> None:
        """Send the answer, as soon as the ticket is durable."""
        if not outcome.is_taken:
            self.undo()
            ticket = self._hub.engine.journal.newest
        self._outcome = outcome
        self._hub.engine.journal.on_durable(ticket, self._durable)

    def _durable(self) -> None:
        if self._hub.is_current_thread():
            self._send()
        else:
            self._hub.post(self._send)

    def _send(self) -> None:
        assert self._outcome is not None
        if self._handed_out:
            if not self._connection.is_open:
                self.undo()
            elif self._acknowledge():
                self._hub.engine.journal.on_durable(self._hub.engine.journal.newest, self._durable)
                return
            self._handed_out.clear()
            self._hub.unsent.discard(self)
        if not self._header.is_oneway:
            self._connection.reply(self._header, self._outcome.data, self._outcome.flags)
        self._connection.over(self)

    def _acknowledge(self) -> bool:
        """Answers count as collected, and durably so, before they are sent. False: there are none.

        So who has seen one finds it collected, and a broker that dies just then never hands it
        out a second time: at most once.
        """
        answers = [reply for reply in self._handed_out if isinstance(reply, Answer)]
        for answer in answers:
            self._hub.engine.execute(acknowledging(answer.task))
        self._handed_out = [reply for reply in self._handed_out if not isinstance(reply, Answer)]
        return bool(answers)


def acknowledging(task: TaskNumber) -> Command:
    """The command that says that an answer has arrived."""
    return lambda m, _now: m.acknowledge(task)


def checked(data: bytes) -> bytes:
    """The data, if Pyro's header can announce as much. Raises ValueError."""
    if len(data) > wire.LONGEST:
        raise ValueError(f"a value of {len(data)} bytes is too large for Pyro: {wire.LONGEST} is the most")
    return data


def size_of(reply: Any) -> int:
    """How many bytes of users' values are in a reply."""
    if type(reply) in WITHOUT_VALUES:
        return 0
    return sum([value.nbytes for value in _values_in(reply)])


def is_large(reply: Any, large_bytes: int, *, by_reference: bool) -> bool:
    """Whether it would hold up the loop: by its size, or for what has to be read from files."""
    nbytes = size_of(reply)
    if nbytes <= READ_AT_ONCE_BYTES:
        return nbytes > large_bytes
    if by_reference:
        nbytes -= sum(value.shared_bytes for value in _values_in(reply))
    return nbytes > large_bytes or sum(value.bytes_away for value in _values_in(reply)) > READ_AT_ONCE_BYTES


def _values_in(reply: Any) -> Iterable[Payload]:
    if isinstance(reply, Payload):
        return (reply,)
    if isinstance(reply, Answer):
        return values_of(reply)
    if isinstance(reply, Peeked):
        return [value for _, answer in reply.answers for value in values_of(answer)]
    if isinstance(reply, list) and reply and isinstance(reply[0], Delivered):
        return [value for one in reply for value in values_of(one.answer)]
    if isinstance(reply, tuple) and reply and isinstance(reply[0], Lease):
        return [value for lease in reply for value in (lease.payload, *lease.inputs)]
    return ()
