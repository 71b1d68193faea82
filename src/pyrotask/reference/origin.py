"""Who calls, and what a checked call is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from pyrotask import payload
from pyrotask.core.model import ConnectionId, Failure, Nanoseconds, Payload

if TYPE_CHECKING:
    from pyrotask.arena import Visitor
    from pyrotask.callers import Caller
    from pyrotask.core.machine import Machine


class Origin(NamedTuple):
    """Who asks: over which connection (None: in the manager's process), speaking what."""

    connection: ConnectionId | None = None
    serializer: str | None = None
    """The Pyro serializer of a proxy, which carries plain values only; None: no limits."""
    wire: int = sys.maxsize
    """The version of the bulk protocol that it speaks; who is of this very version need not say."""
    visitor: Visitor | None = None
    """What it shares of its memory; None: it is on another host, or we do not share."""

    @property
    def plain_only(self) -> bool:
        """Whether it can send and read plain values only."""
        return self.serializer is not None

    def encode(self, value: object, what: str) -> Payload:
        """Encode a value of this origin; ``what`` names it in an error."""
        if self.serializer is None:
            return payload.encode(value).in_blocks()
        return payload.encode_plain(payload.from_wire(value, self.serializer), what).in_blocks()

    def decode(self, value: Payload, what: str) -> object:
        """Decode a value for this origin."""
        if self.serializer is None:
            return payload.decode(value)
        return payload.to_wire(payload.decode_plain(value), self.serializer, what)

    def encode_failure(self, exception: object, traceback: str) -> Failure:
        """Encode what a task raised: an exception or any other object."""
        if self.serializer is None and isinstance(exception, BaseException):
            failure = payload.encode_error(exception)._replace(traceback=traceback)
        else:
            if self.serializer is not None:
                exception = payload.from_wire(exception, self.serializer)
            failure = payload.encode_plain_error(exception, traceback)
        return failure._replace(error=failure.error.in_blocks())

    def decode_failure(self, failure: Failure) -> object:
        """Decode it for this origin, at least as a `RuntimeError` with its text."""
        return payload.decode_error(failure, plain_only=self.plain_only)


IN_PROCESS = Origin()


class Request(NamedTuple):
    """A call that has been checked, and not been done."""

    command: Callable[[Machine, Nanoseconds, Caller | None], Any]
    present: Callable[[Any], object] = lambda reply: reply
    blocks: bool = False
    """Whether it may have to wait; the others ignore the caller."""
    timeout: float | None = None
    """Seconds; None: no limit; 0: do not wait."""
    is_for_result: bool = False
    """Whether a master waits for it, who wants to know why it takes long."""
