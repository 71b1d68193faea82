"""Large values that were just written, and stay in memory as well for those who will soon want them.

A task is often leased as soon as it is on disk, and its answer collected. To read its values again
from their file, and to prove them, would take longer than to write them. So they stay where they
came: in memory of our own, or in that of the client who has put them there. They go with the last
who refers to them, as with a journal in memory.

What came first stays: tasks are leased in that order, and the newest of a long queue are those
that will not be wanted soon. But what was not wanted for a while makes room for others.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict, deque

from pyrotask.core.blocks import Block

OWN_BYTES = 64 << 20
"""How much stays in memory of our own."""

SHARED_BYTES = 256 << 20
"""How much stays in memory of clients: it costs us none, and them the use of it for the next values."""

STAY_S = 10.0
"""So long, values stay also if there is no room for others."""


class Recent:
    """See the module's text. For the flusher's thread.

    Args:
        own_bytes, shared_bytes: see `OWN_BYTES`, `SHARED_BYTES`. 0: nothing stays.
        stay_s: see `STAY_S`.
    """

    def __init__(
        self, own_bytes: int = OWN_BYTES, shared_bytes: int = SHARED_BYTES, *, stay_s: float = STAY_S
    ) -> None:
        self._own = _Shelf(own_bytes, stay_s)
        self._shared = _Shelf(shared_bytes, stay_s)

    def keep(self, block: Block) -> None:
        """The block is in its file now. It stays in memory as well, or leaves it at once."""
        shared = block.shared
        stays = (self._own if shared is None else self._shared).take(block)
        if not stays:
            block.leave_memory()
        elif shared is not None:
            shared.can_be_dropped(weakref.WeakMethod(block.leave_memory))


class _Entry(weakref.ref[Block]):
    """A block that stays, for as long as there is one."""

    __slots__ = ("kept_at", "nbytes", "number")

    number: int
    nbytes: int
    kept_at: float


class _Shelf:
    """Blocks of one kind, the oldest first."""

    def __init__(self, most_bytes: int, stay_s: float) -> None:
        self._left_bytes = most_bytes
        self._most_bytes = most_bytes
        self._stay_s = stay_s
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._number = 0
        self._gone: deque[_Entry] = deque()
        """Entries whose blocks are gone: filled in whatever thread that happens."""

    def take(self, block: Block) -> bool:
        """Whether there is room for it: it has it then."""
        if block.nbytes > self._most_bytes:
            return False
        self._note_who_is_gone()
        now = time.monotonic()
        while self._left_bytes < block.nbytes:
            if not self._drop_oldest(now):
                return False
        self._number += 1
        entry = _Entry(block, self._gone.append)
        entry.number, entry.nbytes, entry.kept_at = self._number, block.nbytes, now
        self._entries[entry.number] = entry
        self._left_bytes -= block.nbytes
        return True

    def _note_who_is_gone(self) -> None:
        while self._gone:
            self._forget(self._gone.popleft())

    def _drop_oldest(self, now: float) -> bool:
        oldest = next(iter(self._entries.values()))
        if now - oldest.kept_at < self._stay_s:
            return False
        block = oldest()
        if block is not None:
            block.leave_memory()
        self._forget(oldest)
        return True

    def _forget(self, entry: _Entry) -> None:
        if self._entries.pop(entry.number, None) is not None:
            self._left_bytes += entry.nbytes
