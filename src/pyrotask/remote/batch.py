"""Several calls in one message, as Pyro's BatchProxy sends them.

They are done one after the other, up to the first error; nothing in a batch ever waits. A long
one is done in slices, so that others have their turn in between, and large values are an errand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pyrotask.broker import undoing
from pyrotask.errors import TaskRaisedException
from pyrotask.reference import Request
from pyrotask.remote import wire
from pyrotask.remote.serializing import Codec, RawCall
from pyrotask.remote.services import request_of
from pyrotask.remote.turn import Outcome, checked, is_large, size_of

if TYPE_CHECKING:
    from pyrotask.reference import Origin
    from pyrotask.remote.hub import Hub
    from pyrotask.remote.turn import Batch, Turn

SLICE = 100
"""Calls that are done in one go: some milliseconds."""


class BatchRun:
    """The calls of one message, being done.

    Args:
        hub: the loop.
        turn: the message's turn, which gets the outcome.
        batch: the calls.
        origin: whose calls they are.
        codec: of the message's serializer.
    """

    def __init__(self, hub: Hub, turn: Turn, batch: Batch, origin: Origin, codec: Codec) -> None:
        self._hub = hub
        self._turn = turn
        self._batch = batch
        self._origin = origin
        self._codec = codec
        self._values: list[Any] = []
        self._bytes = 0
        """How large the values are, up to the call that is being done."""
        self._error: Exception | None = None

    def start(self) -> None:
        """Do them, the first of them at once. The turn is concluded in the end."""
        self._slice(iter(self._batch.calls.args))

    def _slice(self, calls: Iterator[Any]) -> None:
        for _ in range(SLICE):
            try:
                done = self._do(next(calls))
            except StopIteration:
                self._conclude()
                return
            except Exception as error:  # noqa: BLE001 - the first error ends the batch, and is its last result
                self._end_with(error)
                return
            if is_large(done.reply, self._codec.large_bytes, by_reference=False):
                self._hub.run_large(done.present, partial(self._take_and_go_on, calls, done))
                return
            if not self._take(done, done.present()):
                return
        self._hub.loop.call_soon(self._slice, calls)

    def _take_and_go_on(self, calls: Iterator[Any], done: _Done, shown: _Shown) -> None:
        if self._take(done, shown):
            self._slice(calls)

    def _do(self, call: Any) -> _Done:
        request = request_of(self._batch.service, self._one(call), self._origin, self._codec)
        if self._turn.ignores(request):
            return _Done(Request(request.command), None)
        reply = self._hub.engine.execute(lambda m, now: request.command(m, now, None)).reply
        if isinstance(reply, Exception):
            raise reply
        if request.blocks and not reply:
            raise TimeoutError("there is nothing yet (in a batch nothing waits)")
        before, most = self._bytes, self._hub.settings.max_message_bytes
        self._bytes += size_of(reply)
        if before and self._bytes > most:
            self._undo(reply)
            raise ValueError(
                f"the results of the batch are too large: {self._bytes} bytes up to this one, which was not "
                f"handed out, and {most} is the most (max_message_bytes). Ask for less at a time"
            )
        return _Done(request, reply)

    def _take(self, done: _Done, shown: _Shown) -> bool:
        """Add what was shown to the results. False: that ends the batch."""
        if done.request.blocks:
            if shown.error is None or isinstance(shown.error, TaskRaisedException):
                self._turn.hand_out(done.reply)
            else:
                self._undo(done.reply)
        if shown.error is not None:
            self._end_with(shown.error)
            return False
        self._values.append(shown.value)
        return True

    def _undo(self, reply: Any) -> None:
        for command in undoing(reply):
            self._hub.engine.execute(command)

    def _one(self, call: Any) -> RawCall:
        match call:
            case [str(method), [*_] as args, dict() | None as kwargs]:
                return self._batch.calls._replace(method=method, args=args, kwargs=kwargs or {})
            case _:
                raise ValueError("a call of a batch needs a method and its arguments")

    def _end_with(self, error: Exception) -> None:
        self._error = error
        self._conclude()

    def _conclude(self) -> None:
        if self._bytes > self._codec.large_bytes:
            self._hub.run_large(self._encode, self._send)
        else:
            self._send(self._encode())

    def _encode(self) -> Outcome:
        try:
            return Outcome(checked(self._codec.dump_results(self._values, self._error)), wire.BATCH)
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is encoded
            return Outcome(self._codec.dump_error(error), wire.EXCEPTION, is_taken=False)

    def _send(self, outcome: Outcome) -> None:
        self._turn.conclude(outcome, self._hub.engine.journal.newest)


class _Shown(NamedTuple):
    """What a call returns or raises."""

    value: Any = None
    error: Exception | None = None


class _Done(NamedTuple):
    """A call that is done, and what the engine replied."""

    request: Request
    reply: Any

    def present(self) -> _Shown:
        """Make the return value. Runs in any thread."""
        try:
            return _Shown(self.request.present(self.reply))
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is decoded
            return _Shown(error=error)
