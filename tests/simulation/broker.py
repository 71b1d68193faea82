"""One run of a simulated broker: the real machine and the real calls, without sockets and threads.

`Turn` does what `pyrotask.remote.turn` does, in the same order: execute, or park; present; wait
until the journal has it; count plain answers as collected; send, or take back what cannot be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pyrotask.core.invariants import check
from pyrotask.core.machine import Machine, Parked, Step
from pyrotask.core.model import Answer, ConnectionId, Nanoseconds
from pyrotask.engine import REFUSALS, undoing
from pyrotask.errors import BrokerBroken
from pyrotask.reference import CALLS as PLAIN_CALLS
from pyrotask.reference import Origin, Request
from pyrotask.remote.bulk import service

if TYPE_CHECKING:
    from pyrotask.core.state import DurableState
    from tests.simulation.disk import Journal
    from tests.simulation.loop import Loop
    from tests.simulation.witness import Witness

SendBack = Callable[[Any, Exception | None], None]

_SERVICES: Mapping[str, Mapping[str, Callable[..., Request]]] = {
    "bulk": service("simulated"),
    "plain": PLAIN_CALLS,
}
_SERIALIZERS = {"bulk": None, "plain": "serpent"}


class Broker:
    """A run, from its recovery to its crash."""

    def __init__(
        self, loop: Loop, machine: Machine, journal: Journal, witness: Witness, check_every: int
    ) -> None:
        self.loop = loop
        self.machine = machine
        self.journal = journal
        self.witness = witness
        self.is_alive = True
        self._check_every = check_every
        self._steps = 0
        self._alarm: Nanoseconds | None = None

    def start(self, lineage: str) -> None:
        """Begin the run."""
        self.execute(lambda m, now: m.start(now, lineage))

    def die(self) -> None:
        """Everything in memory is gone."""
        self.is_alive = False
        self.journal.die()

    def accept(self) -> Connection:
        """A new connection."""
        return Connection(self, self.machine.connect())

    def execute(
        self, command: Callable[[Machine, Nanoseconds], Any], call: tuple[Any, ...] = ()
    ) -> tuple[Any, int]:
        """Run a command; the reply, and the ticket that it waits for. As `Engine.execute`."""
        try:
            result = command(self.machine, self.loop.now)
        except REFUSALS as error:
            if self.machine.in_step:
                raise BrokerBroken(f"{error!r} in the middle of {call}") from error
            return error, self.journal.newest
        reply, ticket = result, self.journal.newest
        if isinstance(result, Step):
            reply = result.reply
            if result.events:
                self.witness.note(call, reply, result.events)
                ticket = self.journal.append(result.events)
            for turn, answer in result.wakes:
                turn.answer(answer, ticket)  # type: ignore[attr-defined]
        self._look_after()
        return reply, ticket

    def look_closely(self, state: Callable[[], DurableState]) -> None:
        """Every index is true, and the events add up to this very state."""
        check(self.machine)
        replayed, live = state().image(), self.machine.state.image()
        for name, value in live.items():
            assert replayed[name] == value, f"a replay differs in {name}: {replayed[name]} for {value}"

    def _look_after(self) -> None:
        self._steps += 1
        if self._check_every and self._steps % self._check_every == 0:
            check(self.machine)
        at = self.machine.deadlines.next_at()
        if at is not None and (self._alarm is None or at < self._alarm):
            self._alarm = at
            self.loop.at(at, partial(self._ring, at))

    def _ring(self, at: Nanoseconds) -> None:
        if self.is_alive and self._alarm == at:
            self._alarm = None
            self.execute(lambda m, now: m.tick(now))


class Connection:
    """The broker's end of a connection."""

    def __init__(self, broker: Broker, number: ConnectionId) -> None:
        self.broker = broker
        self.number = number
        self.is_open = True

    def receive(
        self, service: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], send_back: SendBack
    ) -> None:
        """A call has come in."""
        if self.is_open and self.broker.is_alive:
            origin = Origin(self.number, _SERIALIZERS[service])
            try:
                request = _SERVICES[service][name](origin, *args, **kwargs)
            except REFUSALS as error:
                send_back(None, error)
                return
            Turn(self, request, (name, *args), send_back).begin()

    def close(self) -> None:
        """The broker notices that it is closed."""
        if self.is_open and self.broker.is_alive:
            self.broker.execute(lambda m, now: m.disconnect(now, self.number))
        self.is_open = False


class Turn:
    """One call, from its message to its reply."""

    __slots__ = ("_call", "_connection", "_handed_out", "_is_parked", "_request", "_result", "_send_back")

    def __init__(
        self, connection: Connection, request: Request, call: tuple[Any, ...], send_back: SendBack
    ) -> None:
        self._connection = connection
        self._request = request
        self._call = call
        self._send_back = send_back
        self._handed_out: list[Any] = []
        self._result: tuple[Any, Exception | None] = (None, None)
        self._is_parked = False

    def begin(self) -> None:
        """Do it, or park it."""
        request, broker = self._request, self._connection.broker
        caller: Any = self if request.blocks and request.timeout != 0 else None
        reply, ticket = broker.execute(lambda m, now: request.command(m, now, caller), self._call)
        if not isinstance(reply, Parked):
            self._present(reply, ticket)
            return
        self._is_parked = True
        if request.timeout is not None:
            want = reply.want
            broker.loop.after(request.timeout, lambda: self._time_out(want))

    def answer(self, reply: Any, ticket: int) -> None:
        """What it was parked for has come."""
        self._connection.broker.loop.after(0.0, partial(self._answered, reply, ticket))

    def _answered(self, reply: Any, ticket: int) -> None:
        if not self._connection.broker.is_alive:
            return
        self._is_parked = False
        if self._connection.is_open:
            self._present(reply, ticket)
        else:
            self._handed_out.append(reply)
            self._undo()

    def _time_out(self, want: Any) -> None:
        broker = self._connection.broker
        if broker.is_alive and self._is_parked:
            reply, ticket = broker.execute(lambda m, now: m.withdraw(now, want))
            if reply is True:
                self._is_parked = False
                self._present(TimeoutError("nothing came"), ticket)

    def _present(self, reply: Any, ticket: int) -> None:
        if isinstance(reply, BrokerBroken):
            raise reply
        if self._request.blocks and not reply:
            reply = TimeoutError("there is nothing yet")
        if isinstance(reply, Exception):
            self._result = (None, reply)
        else:
            if self._request.blocks:
                self._handed_out.append(reply)
            try:
                self._result = (self._request.present(reply), None)
            except Exception as error:  # noqa: BLE001 - a task's error is raised where it is collected
                self._result = (None, error)
        self._connection.broker.journal.on_durable(ticket, self._send)

    def _send(self) -> None:
        broker = self._connection.broker
        if not broker.is_alive:
            return
        if not self._connection.is_open:
            self._undo()
            return
        if self._acknowledge():
            broker.journal.on_durable(broker.journal.newest, self._send)
            return
        self._send_back(*self._result)

    def _undo(self) -> None:
        replies, self._handed_out = self._handed_out, []
        for reply in reversed(replies):
            for command in undoing(reply):
                self._connection.broker.execute(command)

    def _acknowledge(self) -> bool:
        answers = [reply for reply in self._handed_out if isinstance(reply, Answer)]
        for answer in answers:
            self._connection.broker.execute(partial(_acknowledge, answer))
        self._handed_out = [reply for reply in self._handed_out if not isinstance(reply, Answer)]
        return bool(answers)


def _acknowledge(answer: Answer, machine: Machine, _now: Nanoseconds) -> Step:
    return machine.acknowledge(answer.task)
