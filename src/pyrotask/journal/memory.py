"""The journal that keeps nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from pyrotask.core.events import Event
from pyrotask.errors import BrokerBroken
from pyrotask.journal.protocol import Ticket


class MemoryJournal:
    """Every event is as durable as it will ever be at once: it lives as long as the process."""

    has_room = True
    room_bytes = float("inf")
    keeps_blocks = False

    def __init__(self) -> None:
        self.lineage = secrets.token_hex(8)
        self._newest = 0

    @property
    def newest(self) -> Ticket:
        """The ticket of the last append."""
        return Ticket(self._newest)

    def append(self, events: Sequence[Event]) -> Ticket:
        """Count them."""
        self._newest += len(events)
        return Ticket(self._newest)

    def on_durable(self, ticket: Ticket, call: Callable[[], None]) -> None:
        """Call it now."""
        call()

    def on_broken(self, call: Callable[[BrokerBroken], None]) -> None:
        """Nothing here can break."""

    def wait(self, ticket: Ticket) -> None:
        """Return at once."""

    def close(self) -> None:
        """There is nothing to let go of."""
