"""A way to a broker in this very process: the same calls as over a `Link`, without a socket in between.

An Executor that brings its own broker uses it: nothing is serialized, and no thread of the server has
to be woken, between the session and the broker.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pyrotask.callers import ThreadCaller
from pyrotask.client.link import Stopped
from pyrotask.core.machine import Parked
from pyrotask.errors import BrokerBroken
from pyrotask.journal import Ticket
from pyrotask.reference import Origin
from pyrotask.remote import bulk

if TYPE_CHECKING:
    from pyrotask.broker import Broker

HERE = Origin(None, None)


class NearLink:
    """Does what a `Link` does; there is no connection that could break, and no call is merely begun.

    Args:
        broker: it must outlive us.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._calls = bulk.service("", broker.engine.journal)
        self.lineage = broker.engine.lineage
        self._is_stopped = False
        self._is_told_of_trouble = False
        self._waiting: ThreadCaller | None = None

    def call(self, method: str, *args: object, timeout_s: float | None = None) -> Any:
        """Call, and return the reply. See `Link.call`."""
        if self._is_stopped:
            raise Stopped
        request = self._calls[method](HERE, *args)
        if not (request.blocks and request.timeout is None):
            return self._broker.call(lambda m, now: request.command(m, now, None), request.present)
        return request.present(self._wait_for(request))

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def call_once(self, method: str, *args: object, timeout_s: float) -> Any:
        """The same, also after `stop`, for calls that do not wait."""
        request = self._calls[method](HERE, *args)
        return self._broker.call(lambda m, now: request.command(m, now, None), request.present)

    def stop(self) -> None:
        """End a call that waits, and all later ones, with `Stopped`. Thread-safe, idempotent."""
        self._is_stopped = True
        with contextlib.suppress(BrokerBroken):  # then it has been told so
            self._broker.call(lambda _m, _now: self._tell(Stopped()))

    def close(self) -> None:
        """There is nothing to close."""

    def _tell(self, error: Exception) -> None:
        """Under the broker's lock."""
        waiting = self._waiting
        if waiting is not None:
            waiting.answer(error, Ticket(0))

    def _wait_for(self, request: Any) -> Any:
        """Not in the main thread: see `pyrotask.callers`."""
        engine = self._broker.engine
        if not self._is_told_of_trouble:
            self._is_told_of_trouble = True
            engine.on_broken(self._tell)
        self._waiting = caller = ThreadCaller()
        if self._is_stopped:
            raise Stopped
        reply, ticket = engine.execute(lambda m, now: request.command(m, now, caller))
        if isinstance(reply, Parked):
            caller.gate.wait()
            reply, ticket = caller.reply, caller.ticket
        self._waiting = None
        if isinstance(reply, Exception):
            raise reply
        engine.journal.wait(ticket)
        return reply
