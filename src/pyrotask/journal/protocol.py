"""What every journal promises."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NewType, Protocol

from pyrotask.core.events import Event
from pyrotask.errors import BrokerBroken

Ticket = NewType("Ticket", int)
"""A position in a journal: how many events it has had up to there. A later one is greater."""


class Policy(enum.Enum):
    """When an event counts as durable, and so when a reply may leave."""

    ALWAYS = "always"
    """When the disk says that it has it."""
    INTERVAL = "interval"
    """When the operating system has it; the disk is asked about once a second."""
    NEVER = "never"
    """When the operating system has it; the disk is asked when a file ends, and at the close."""

    @property
    def can_lose(self) -> str:
        """What a user can lose of what was acknowledged, for `status` and the documentation."""
        return _CAN_LOSE[self]


_CAN_LOSE = {
    Policy.ALWAYS: "nothing",
    Policy.INTERVAL: "the last second before a power failure or a crash of the system; nothing when the "
    "broker is killed",
    Policy.NEVER: "what the system had not written by itself (often the last half minute) before a power "
    "failure or a crash of the system; nothing when the broker is killed",
}


class Journal(Protocol):
    """An ordered, durable list of events.

    `append` is called under the broker's lock, and returns at once; everything else is
    called without it. Thread-safe.
    """

    @property
    def lineage(self) -> str:
        """The name of this history, new for each empty journal: all numbers belong to it."""

    @property
    def newest(self) -> Ticket:
        """The ticket of the last append."""

    @property
    def keeps_blocks(self) -> bool:
        """Whether the blocks of what is appended leave the memory, sooner or later (see `core.blocks`)."""

    @property
    def has_room(self) -> bool:
        """Whether new submits may be taken on. Never blocks.

        False when the disk is full up to a reserve. The reserve is for what was taken on
        before: its leases, results and collections are still taken.
        """

    @property
    def room_bytes(self) -> float:
        """How large the values of a submit may be, so as not to need the reserve. Never blocks."""

    def append(self, events: Sequence[Event]) -> Ticket:
        """Take the events on, in this order. They are durable when the ticket is.

        Never blocks.

        Raises:
            BrokerBroken: the journal is broken or closed; nothing was taken on.
        """

    def on_durable(self, ticket: Ticket, call: Callable[[], None]) -> None:
        """Call ``call`` once the ticket is as durable as the policy says; now, if it is.

        It is called exactly once, in this thread or in the journal's own, and must not block;
        never, if the journal breaks or is closed before: see `on_broken`.
        """

    def on_broken(self, call: Callable[[BrokerBroken], None]) -> None:
        """Call ``call`` when the journal cannot go on, as after a failed sync; now, if it cannot.

        No ticket becomes durable after that. It is called in the journal's own thread, or here.
        """

    def wait(self, ticket: Ticket) -> None:
        """Block until the ticket is as durable as the policy says.

        Raises:
            BrokerBroken: it never will be.
        """

    def close(self) -> None:
        """Make everything durable, and let go. Idempotent."""
