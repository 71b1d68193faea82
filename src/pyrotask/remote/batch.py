"""Several calls in one message, as Pyro's BatchProxy sends them.

They are done one after the other, up to the first error; nothing in a batch ever waits. A long
one is done in slices, so that others have their turn in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyrotask.broker import undoing
from pyrotask.errors import TaskRaisedException
from pyrotask.remote import wire
from pyrotask.remote.serializing import Codec, RawCall
from pyrotask.remote.services import request_of
from pyrotask.remote.turn import Outcome, checked

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
        self._error: Exception | None = None

    def start(self) -> None:
        """Do them, the first of them at once. The turn is concluded in the end."""
        self._slice(iter(self._batch.calls.args))

    def _slice(self, calls: Iterator[Any]) -> None:
        for _ in range(SLICE):
            try:
                self._values.append(self._do(next(calls)))
            except StopIteration:
                self._conclude()
                return
            except Exception as error:  # noqa: BLE001 - the first error ends the batch, and is its last result
                self._error = error
                self._conclude()
                return
        self._hub.loop.call_soon(self._slice, calls)

    def _do(self, call: Any) -> Any:
        request = request_of(self._batch.service, self._one(call), self._origin, self._codec)
        if self._turn.ignores(request):
            return None
        done = self._hub.engine.execute(lambda m, now: request.command(m, now, None))
        reply = done.reply
        if isinstance(reply, Exception):
            raise reply
        if request.blocks and not reply:
            raise TimeoutError("there is nothing yet (in a batch nothing waits)")
        try:
            value = request.present(reply)
        except TaskRaisedException:
            self._turn.hand_out(reply)
            raise
        except Exception:
            if request.blocks:
                for command in undoing(reply):
                    self._hub.engine.execute(command)
            raise
        if request.blocks:
            self._turn.hand_out(reply)
        return value

    def _one(self, call: Any) -> RawCall:
        match call:
            case [str(method), [*_] as args, dict() | None as kwargs]:
                return self._batch.calls._replace(method=method, args=args, kwargs=kwargs or {})
            case _:
                raise ValueError("a call of a batch needs a method and its arguments")

    def _conclude(self) -> None:
        try:
            outcome = Outcome(checked(self._codec.dump_results(self._values, self._error)), wire.BATCH)
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is encoded
            outcome = Outcome(self._codec.dump_error(error), wire.EXCEPTION, is_taken=False)
        self._turn.conclude(outcome, self._hub.engine.journal.newest)
