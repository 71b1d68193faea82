"""What a broker holds in a client's segment: `Lent`, for each reference that it has taken.

The place stays as it is for as long as one of them refers to it. See the package's text for who may
use a place again, and when.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

from pyrotask.arena.layout import DATA_AT, GENERATION, Reference, generation_at, hold_at
from pyrotask.arena.memfd import NoSegment, Opening, Room, close_quietly, open_segment, read_into

LONGEST_BYTES = 1 << 40
"""How long a segment may say that it is."""


class StaleReference(ValueError):
    """What a client refers to is not there (any more)."""


class Segment:
    """A client's segment, opened here, and what we hold in it. Thread-safe.

    Attributes:
        visitors: over how many connections it is shown. Of the loop's thread.

    Raises:
        NoSegment: it cannot be opened.
    """

    def __init__(self, where: Opening) -> None:
        self.identity = where.identity
        self.visitors = 0
        self._descriptor = descriptor = open_segment(where, writes=True)
        weakref.finalize(self, close_quietly, descriptor).atexit = False
        self._nbytes = os.fstat(descriptor).st_size
        if not DATA_AT < self._nbytes <= LONGEST_BYTES:
            raise NoSegment(f"{where} has {self._nbytes} bytes")
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._holds: dict[int, tuple[Reference, int]] = {}
        """By slot: what is there, and how many of our objects refer to it."""
        self._held_bytes = 0
        self._lent: weakref.WeakSet[Lent] = weakref.WeakSet()
        self._gone: deque[int] = deque()
        """Slots of such objects that have ended."""

    @property
    def is_in_use(self) -> bool:
        """Whether anything here refers to it."""
        return bool(self._holds)

    def take(self, reference: Reference) -> Lent:
        """Hold what a reference refers to.

        Raises:
            StaleReference: it is not there (any more).
        """
        if reference.offset + reference.nbytes > self._nbytes:
            raise StaleReference(f"a segment of {self._nbytes} bytes has nothing like {reference[2:]}")
        try:
            with self._lock:
                return self._take(reference)
        finally:
            self._look_who_is_gone()

    def _take(self, named: Reference) -> Lent:
        reference = named._replace(descriptor=self._descriptor)
        slot = reference.slot
        self._note_who_is_gone()
        held, count = self._holds.get(slot, (reference, 0))
        if not count:
            self._hold(reference)
        if held != reference or self._generation_of(slot) != reference.generation:
            if not count:
                self._release(slot)
            raise StaleReference("a buffer that is referred to is not in its segment any more")
        self._holds[slot] = (reference, count + 1)
        lent = Lent(self, reference)
        self._lent.add(lent)
        return lent

    def _hold(self, reference: Reference) -> None:
        """What comes next is the look at the generation: see `writer`."""
        if self._held_bytes + reference.nbytes > self._nbytes:
            raise StaleReference("more is referred to in a segment than there is in it: places overlap")
        os.pwrite(self._descriptor, b"\1", hold_at(reference.slot))
        self._holds[reference.slot] = (reference, 0)
        self._held_bytes += reference.nbytes

    def let_go(self, slot: int) -> None:
        """One of those who refer to it has ended. Never blocks: called wherever that happens."""
        self._gone.append(slot)
        if os.getpid() == self._process:  # a forked child holds nothing of it
            self._look_who_is_gone()

    def read_into(self, room: Room, reference: Reference, start: int) -> Room:
        """Copy what is held there, from that byte on. Returns the same. Raises OSError."""
        return read_into(room, self._descriptor, reference.offset + start)

    def take_home(self) -> None:
        """Copy all that is held into memory of our own: each place once, however often it is referred to."""
        with self._lock:
            lent = list(self._lent)
        copies: dict[Reference, bytes] = {}
        for each in lent:
            each.take_home(copies)

    def _look_who_is_gone(self) -> None:
        # Whoever has the lock does it, and looks once more when he has let it go.
        while self._gone and self._lock.acquire(blocking=False):
            try:
                self._note_who_is_gone()
            finally:
                self._lock.release()

    def _note_who_is_gone(self) -> None:
        while self._gone:
            slot = self._gone.popleft()
            reference, count = self._holds[slot]
            if count == 1:
                self._release(slot)
            else:
                self._holds[slot] = (reference, count - 1)

    def _release(self, slot: int) -> None:
        reference, _ = self._holds.pop(slot)
        self._held_bytes -= reference.nbytes
        os.pwrite(self._descriptor, b"\0", hold_at(slot))

    def _generation_of(self, slot: int) -> int:
        (generation,) = GENERATION.unpack(os.pread(self._descriptor, GENERATION.size, generation_at(slot)))
        return int(generation)


class Lent:
    """A buffer in a client's segment, which stays there as it is for as long as this object. Thread-safe."""

    __slots__ = ("__weakref__", "_copy", "_drop", "_nbytes", "_reference", "_segment", "_stop_holding")

    def __init__(self, segment: Segment, reference: Reference) -> None:
        self._nbytes = reference.nbytes
        self._reference: Reference | None = reference
        self._segment: Segment | None = segment
        self._copy = b""
        self._drop: Callable[[], Callable[[], None] | None] | None = None
        self._stop_holding = weakref.finalize(self, segment.let_go, reference.slot)
        self._stop_holding.atexit = False

    def __len__(self) -> int:
        return self._nbytes

    @property
    def reference(self) -> Reference | None:
        """What to send to those who can open our segments; None: it is not in one any more."""
        return self._reference

    def read(self) -> bytearray | bytes:
        """A copy; what was taken home is read as it is. Raises OSError."""
        reference, segment = self._reference, self._segment
        if reference is not None and segment is not None:
            data = segment.read_into(bytearray(self._nbytes), reference, 0)
            if self._reference is not None:
                return data
        return self._copy  # it was taken home, maybe while we read

    def read_into(self, room: memoryview, start: int) -> None:
        """Copy as many of its bytes there, from that one on, as there is room for. Raises OSError."""
        reference, segment = self._reference, self._segment
        if reference is not None and segment is not None:
            segment.read_into(room, reference, start)
            if self._reference is not None:
                return
        room[:] = self._copy[start : start + len(room)]

    def can_be_dropped(self, drop: Callable[[], Callable[[], None] | None]) -> None:
        """The disk has it as well: `take_home` need not copy it. See `pyrotask.core.blocks.Shared`."""
        self._drop = drop

    def take_home(self, copies: dict[Reference, bytes]) -> None:
        """Copy it into memory of our own, and stop holding it; or have it dropped. Idempotent.

        ``copies``: of what was taken home just now.
        """
        drop = None if self._drop is None else self._drop()
        if drop is not None:
            drop()  # our hold ends with the last who is just reading it
            return
        reference = self._reference
        if reference is None:
            return
        self._copy = copies.get(reference) or copies.setdefault(reference, bytes(self.read()))
        self._reference = self._segment = None
        self._stop_holding()
