"""What every journal promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NewType, Protocol

from pyrotask.core.events import Event

Ticket = NewType("Ticket", int)
"""A position in a journal. A later one is greater."""


class Journal(Protocol):
    """An ordered, durable list of events.

    `append` is called under the broker's lock, and returns at once; everything else is
    called without it. Thread-safe.
    """

    @property
    def newest(self) -> Ticket:
        """The ticket of the last append."""

    def append(self, events: Sequence[Event]) -> Ticket:
        """Take the events on, in this order. They are durable when the ticket is."""

    def on_durable(self, ticket: Ticket, call: Callable[[], None]) -> None:
        """Call ``call`` once the ticket is as durable as the policy says; now, if it is."""

    def wait(self, ticket: Ticket) -> None:
        """Block until the ticket is as durable as the policy says."""

    def close(self) -> None:
        """Make everything durable, and let go. Idempotent."""
