"""What must be looked at when: at most one instant for each key.

Setting a later instant for a key costs a dictionary entry and nothing else, since that is
what each sign of life does; the heap finds out when it comes to the key's old place.
"""

from __future__ import annotations

import enum
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from pyrotask.core.model import Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator


class Due(enum.IntEnum):
    """What is to be done at an instant."""

    TASK = 0
    """A scheduled task is due."""
    TIME_LIMIT = 1
    """A running task reaches its limit."""
    LEASE = 2
    """An anonymous lease ends: its connection was closed a while ago."""
    PROCESS = 3
    """A process may have been silent for too long."""
    NODE = 4
    """A supervisor may have been silent for too long."""
    WANT = 5
    """A blocked request times out."""
    SESSION = 6
    """A session may have been without contact for too long."""
    RETENTION = 7
    """A failure that was delivered is not kept any longer."""


class Key(NamedTuple):
    """What, and which."""

    due: Due
    number: int


class Deadlines:
    """The instants, and the next of them."""

    def __init__(self) -> None:
        self._at: dict[Key, Nanoseconds] = {}
        self._heap: list[tuple[Nanoseconds, Key]] = []

    def __len__(self) -> int:
        return len(self._at)

    def all(self) -> dict[Key, Nanoseconds]:
        """All instants."""
        return dict(self._at)

    def at(self, key: Key) -> Nanoseconds:
        """The instant of a key that has one."""
        return self._at[key]

    def set(self, key: Key, at: Nanoseconds) -> None:
        """Look at ``key`` at that instant, and not at any other."""
        before = self._at.get(key)
        self._at[key] = at
        if before is None or at < before:
            heappush(self._heap, (at, key))
            if len(self._heap) > 64 + 4 * len(self._at):
                self._rebuild()

    def clear(self, key: Key) -> None:
        """Do not look at ``key`` any more."""
        self._at.pop(key, None)

    def next_at(self) -> Nanoseconds | None:
        """The earliest instant of all."""
        while self._heap:
            at, key = self._heap[0]
            current = self._at.get(key)
            if current == at:
                return at
            heappop(self._heap)
            if current is not None and current > at:
                heappush(self._heap, (current, key))
        return None

    def soonest(self, due: Due, most: int) -> Iterator[tuple[int, Nanoseconds]]:
        """Those of that kind among the ``most`` next ones of all, by number, the earliest first."""
        ahead = [(entry, 0) for entry in self._heap[:1]]
        while ahead and most > 0:
            (at, key), place = heappop(ahead)
            most -= 1
            if key.due is due and self._at.get(key) == at:
                yield key.number, at
            for child in (2 * place + 1, 2 * place + 2):
                if child < len(self._heap):
                    heappush(ahead, (self._heap[child], child))

    def pop_due(self, now: Nanoseconds) -> Key | None:
        """Take out the earliest key whose instant has come: ``now`` counts as come."""
        at = self.next_at()
        if at is None or at > now:
            return None
        _, key = heappop(self._heap)
        del self._at[key]
        return key

    def postpone(self, kinds: frozenset[Due], by: Nanoseconds) -> None:
        """Move all instants of these kinds, for a time in which nobody could be heard."""
        for key, at in self._at.items():
            if key.due in kinds:
                self._at[key] = at + by
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(at, key) for key, at in self._at.items()]
        heapify(self._heap)
