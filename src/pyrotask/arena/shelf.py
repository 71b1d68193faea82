"""The broker's side: it opens the segments of its clients, and holds the places that it refers to.

A `Shelf` is of one broker's run. Each connection from this host has a `Visitor`: it shows its
segment, and says that it can open ours. Whatever a client names is checked; it can spoil what it has
sent itself, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

from pyrotask.arena import memfd
from pyrotask.arena.layout import (
    BEGINNING_BYTES,
    DATA_AT,
    GENERATION,
    Reference,
    generation_at,
    hold_at,
    whole_pages,
)
from pyrotask.arena.memfd import NoSegment, Opening, close_quietly, open_segment, read_into
from pyrotask.core.blocks import Block

log = logging.getLogger("pyrotask.arena")

MOST_SEGMENTS = 1024
"""Descriptors that a broker spends for segments, and no more than an eighth of all: it needs them for
connections."""

LONGEST_BYTES = 1 << 40
"""How long a segment may say that it is."""


class StaleReference(ValueError):
    """What a client refers to is not there (any more)."""


class Shelf:
    """All segments that a broker has open. Thread-safe.

    Args:
        run: does what takes long, soon, in another thread.
    """

    def __init__(self, run: Callable[[Callable[[], object]], object]) -> None:
        self._run = run
        self._segments: weakref.WeakValueDictionary[bytes, Segment] = weakref.WeakValueDictionary()
        self._opening = threading.Lock()
        self.plate: Opening | None = None
        """An empty segment of our own: who can open it can open all; and it names this run of the broker.
        None: there are no segments on this system."""
        if memfd.IS_POSSIBLE:
            with contextlib.suppress(OSError):
                descriptor, identity = memfd.make(whole_pages(BEGINNING_BYTES))
                self._close_plate = weakref.finalize(self, close_quietly, descriptor)
                self._close_plate.atexit = False
                self.plate = Opening(os.getpid(), descriptor, identity)

    def block(self, reference: Reference) -> Block:
        """What a reference refers to, held from now on.

        Raises:
            StaleReference: it is not there.
        """
        segment = self._segments.get(reference.identity)
        if segment is None:
            raise StaleReference("a buffer is said to be in a segment that is not open here: share it first")
        return Block(segment.take(reference))

    def open(self, where: Opening) -> Segment | None:
        """Open a client's segment, if that is possible. It is closed when nobody refers to it any more."""
        with self._opening:
            segment = self._segments.get(where.identity)
            if segment is None and len(self._segments) < _most_segments():
                try:
                    segment = self._segments[where.identity] = Segment(where)
                except NoSegment as error:
                    log.debug("%s", error)
        return segment

    def left(self, segment: Segment) -> None:
        """Nobody shows it any more: have what we hold in it taken home, so that its memory can go."""
        if segment.is_in_use:
            self._run(segment.take_home)

    def close(self) -> None:
        """There will be no more visitors. What is held stays so. Idempotent."""
        if self.plate is not None:
            self._close_plate()


def _most_segments() -> int:
    import resource  # noqa: PLC0415 - other systems have none, and have no segments either

    return min(MOST_SEGMENTS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)


class Visitor:
    """A connection from this host. For the loop's thread.

    Attributes:
        opens_ours: whether it can be sent references.
    """

    __slots__ = ("_segment", "_shelf", "opens_ours")

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._segment: Segment | None = None
        self.opens_ours = False

    @property
    def plate(self) -> Opening | None:
        """What it has to open before it may say that it can."""
        return self._shelf.plate

    def show(self, where: Opening | None) -> bool:
        """It can open our segments, and shows its own, if it has one. False: we cannot open that."""
        self.opens_ours = True
        if where is None:
            return True
        if self._segment is None:
            self._segment = self._shelf.open(where)
            if self._segment is not None:
                self._segment.visitors += 1
        return self._segment is not None and self._segment.identity == where.identity

    def leave(self) -> None:
        """Its connection is closed. Idempotent."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.visitors -= 1
            if not segment.visitors:
                self._shelf.left(segment)


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
        self._holds: dict[int, tuple[int, int]] = {}
        """By slot: of which generation, and how many of our objects refer to it."""
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

    def _take(self, reference: Reference) -> Lent:
        slot, generation = reference.slot, reference.generation
        self._note_who_is_gone()
        held, count = self._holds.get(slot, (generation, 0))
        if not count:
            # First the hold, then the look at the generation: see `writer`.
            os.pwrite(self._descriptor, b"\1", hold_at(slot))
            self._holds[slot] = (generation, 0)
        if held != generation or self._generation_of(slot) != generation:
            if not count:
                self._release(slot)
            raise StaleReference("a buffer that is referred to is not in its segment any more")
        self._holds[slot] = (generation, count + 1)
        lent = Lent(self, reference._replace(descriptor=self._descriptor))
        self._lent.add(lent)
        return lent

    def let_go(self, slot: int) -> None:
        """One of those who refer to it has ended. Never blocks: called wherever that happens."""
        self._gone.append(slot)
        if os.getpid() == self._process:  # a forked child holds nothing of it
            self._look_who_is_gone()

    def read(self, reference: Reference) -> bytearray:
        """A copy of what is held. Raises OSError."""
        return read_into(bytearray(reference.nbytes), self._descriptor, reference.offset)

    def take_home(self) -> None:
        """Copy all that is held into memory of our own."""
        with self._lock:
            lent = list(self._lent)
        for each in lent:
            each.take_home()

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
            generation, count = self._holds[slot]
            if count == 1:
                self._release(slot)
            else:
                self._holds[slot] = (generation, count - 1)

    def _release(self, slot: int) -> None:
        del self._holds[slot]
        os.pwrite(self._descriptor, b"\0", hold_at(slot))

    def _generation_of(self, slot: int) -> int:
        (generation,) = GENERATION.unpack(os.pread(self._descriptor, GENERATION.size, generation_at(slot)))
        return int(generation)


class Lent:
    """A buffer in a client's segment, which stays there as it is for as long as this object. Thread-safe."""

    __slots__ = ("__weakref__", "_copy", "_nbytes", "_reference", "_segment", "_stop_holding")

    def __init__(self, segment: Segment, reference: Reference) -> None:
        self._nbytes = reference.nbytes
        self._reference: Reference | None = reference
        self._segment: Segment | None = segment
        self._copy = b""
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
            data = segment.read(reference)
            if self._reference is not None:
                return data
        return self._copy  # it was taken home, maybe while we read

    def take_home(self) -> None:
        """Copy it into memory of our own, and stop holding it. Idempotent."""
        self._copy = bytes(self.read())
        self._reference = self._segment = None
        self._stop_holding()
