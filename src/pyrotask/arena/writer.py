"""The side of whoever sends: an `Arena` puts buffers into its segment, and uses their places again.

What is said in the package's text about who may use a place again is done here, in `_Segment`.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import threading
import time
import weakref
from collections import deque
from typing import NamedTuple

from pyrotask.arena import memfd
from pyrotask.arena.extents import Extents
from pyrotask.arena.layout import (
    DATA_AT,
    GENERATION,
    NO_GENERATION,
    SLOTS,
    Reference,
    generation_at,
    hold_at,
    whole_pages,
)
from pyrotask.arena.sealed import MOST_MADE, Sealed
from pyrotask.arena.sealed import SMALLEST_BYTES as SMALLEST_SEALED_BYTES
from pyrotask.core.blocks import Block

log = logging.getLogger("pyrotask.arena")

SMALLEST_BYTES = 256 * 1024
"""From this size on a buffer goes into the arena: a smaller one costs less in a message."""

MEMORY_KEPT_S = 10.0
"""What was not needed for so long goes back to the system, when the arena is used the next time."""


class Place(NamedTuple):
    """A place in a segment that is in use."""

    slot: int
    generation: int
    offset: int
    nbytes: int
    """Whole pages."""


class Region:
    """A buffer in our own segment: it stays there for as long as this object, or longer.

    Attributes:
        segment: where it is.
    """

    __slots__ = ("__weakref__", "_nbytes", "_place", "segment")

    def __init__(self, segment: Segment, place: Place, nbytes: int) -> None:
        self.segment = segment
        self._place = place
        self._nbytes = nbytes

    def __len__(self) -> int:
        return self._nbytes

    @property
    def reference(self) -> Reference:
        """What to send to a broker that has opened the segment; or, if we are the broker, to others."""
        slot, generation, offset, _ = self._place
        return Reference(
            self.segment.identity, self.segment.descriptor, slot, generation, offset, self._nbytes
        )

    def read(self) -> bytearray:
        """A copy."""
        return memfd.read_into(bytearray(self._nbytes), self.segment.descriptor, self._place.offset)

    def read_into(self, room: memoryview, start: int) -> None:
        """Copy as many of its bytes there, from that one on, as there is room for."""
        memfd.read_into(room, self.segment.descriptor, self._place.offset + start)

    def can_be_dropped(self, drop: object) -> None:
        """It goes with the last who refers to it. See `pyrotask.core.blocks.Shared`."""


class Arena:
    """Large buffers of this process, on their way to one broker. Thread-safe.

    It does nothing until it is told that there is a broker that can read it (`serve`). A forked
    child has none of it.

    Args:
        most_bytes: how long its segment is: what does not fit goes over the connection.
        smallest_bytes: see `SMALLEST_BYTES`.
    """

    def __init__(self, most_bytes: int, smallest_bytes: int = SMALLEST_BYTES) -> None:
        self._most_bytes = most_bytes if memfd.IS_POSSIBLE and most_bytes > DATA_AT else 0
        self._smallest_bytes = smallest_bytes
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._broker: bytes | None = None
        self._segment: Segment | None = None
        self._sealed: weakref.WeakSet[Sealed] = weakref.WeakSet()
        """That we have made, and that have not been sent yet."""

    def serve(self, broker: bytes | None) -> None:
        """From now on that run of a broker is at the other end; None: one that cannot open segments.

        What another run holds will never be free, so it gets a segment of its own.
        """
        with self._lock:
            if broker != self._broker:
                self._broker, self._segment = broker, None

    @property
    def segment(self) -> Segment | None:
        """What is to be shared with the broker; None: nothing yet."""
        return self._segment

    def keep(self, data: bytes | memoryview) -> Block | None:
        """Copy the data into the arena; None: it has no place for them, or they are too small.

        ``data``: if a memoryview, one of bytes.
        """
        nbytes = len(data)
        if nbytes < self._smallest_bytes or not self._serves:
            return None
        with self._lock:
            segment = self._segment or self._begin_segment()
            place = None if segment is None else segment.take(nbytes)
        if segment is None or place is None:
            return None
        region = segment.region(place, nbytes)
        try:
            segment.fill(place, data)
        except OSError as error:  # there is no memory for it, in this container or so
            log.debug("a large value goes over the connection: %s", error)
            return None
        return Block(region)

    def keep_for_many(self, data: bytes | memoryview) -> Block | None:
        """The same, for what many will read: from a certain size on, it goes to sealed memory."""
        if len(data) < SMALLEST_SEALED_BYTES or isinstance(data, bytes) or not self._serves:
            return self.keep(data)
        with self._lock:
            # By this one the broker proves that it can open what is ours.
            can_seal = self._segment or self._begin_segment()
            is_bounded = len(data) <= self._most_bytes and len(self._sealed) < MOST_MADE
        if not (can_seal and is_bounded):
            return self.keep(data)
        try:
            sealed = Sealed.make(data)
        except OSError as error:  # no memory, or no descriptor
            log.debug("a large value is not sealed: %s", error)
            return self.keep(data)
        self._sealed.add(sealed)
        return Block(sealed)

    @property
    def _serves(self) -> bool:
        # Asked before the lock is taken: in a forked child, it may be held by a thread that is not there.
        return self._broker is not None and os.getpid() == self._process

    def _begin_segment(self) -> Segment | None:
        if self._most_bytes and self._broker is not None:
            try:
                self._segment = Segment(self._most_bytes)
            except (OSError, ValueError) as error:
                log.debug("there is no memory to share, and large values go over the connection: %s", error)
                self._most_bytes = 0
        return self._segment


class Segment:
    """Our own segment, and who uses which part of it. `take` is for one thread at a time.

    Attributes:
        descriptor, identity: by which others open it.
        memory: all of it.
    """

    def __init__(self, nbytes: int) -> None:
        self.descriptor, self.identity = memfd.make(whole_pages(nbytes))
        # Also at the end of the interpreter: it would be closed anyway.
        weakref.finalize(self, memfd.close_quietly, self.descriptor).atexit = False
        self.memory = mmap.mmap(self.descriptor, whole_pages(nbytes))
        self._extents = Extents(DATA_AT, whole_pages(nbytes))
        self._slots = list(range(SLOTS - 1, -1, -1))
        self._next_generation = secrets.randbits(62) + 1
        self._in_use: dict[int, Place] = {}
        self._given_up: deque[Place] = deque()
        """Our own hold is gone since the last look. Filled wherever a `Region` happens to end."""
        self._not_ours: list[Place] = []
        """Our own hold is gone; the broker may have one."""
        self._fence = threading.Lock()
        self._warm_end = self._peak_end = DATA_AT
        """Up to where there is memory, and how far it was needed lately."""
        self._filled_end = DATA_AT
        """Up to where there was something already."""
        self._looked_at = time.monotonic()

    def region(self, place: Place, nbytes: int) -> Region:
        """Hold a place that was taken."""
        region = Region(self, place, nbytes)
        weakref.finalize(region, self._given_up.append, place).atexit = False
        return region

    def fill(self, place: Place, data: bytes | memoryview) -> None:
        """Put the data there. Raises OSError."""
        end = place.offset + len(data)
        if end <= self._filled_end:
            self.memory[place.offset : end] = data
        else:  # to have the system write is half of the work where there are no pages yet
            memfd.write_from(data, self.descriptor, place.offset)
            self._filled_end = max(self._filled_end, end)

    def take(self, nbytes: int) -> Place | None:
        """Find a place; None: there is none. It is in use from then on: see `region`."""
        self._look_who_is_gone()
        if not self._slots or (offset := self._extents.take(whole_pages(nbytes))) is None:
            return None
        place = Place(self._slots.pop(), self._next_generation, offset, whole_pages(nbytes))
        self._next_generation += 1
        self._in_use[place.slot] = place
        self._set_generation(place.slot, place.generation)
        self._peak_end = max(self._peak_end, place.offset + place.nbytes)
        self._warm_end = max(self._warm_end, self._peak_end)
        self._give_back_memory()
        return place

    def _look_who_is_gone(self) -> None:
        while self._given_up:
            self._not_ours.append(self._given_up.popleft())
        if self._not_ours:
            self._not_ours = [place for place in self._not_ours if not self._is_free(place)]

    def _is_free(self, place: Place) -> bool:
        """Whether nobody holds it; then it can be taken. Idempotent: Ctrl-C may come between two steps."""
        if self._in_use.get(place.slot) is not place:
            return True
        if self.memory[hold_at(place.slot)]:
            return False
        # A message that we gave up may arrive at this very moment. The broker takes its hold and then
        # looks at the generation; we change the generation and then look at the hold: one of us
        # two sees the other.
        self._set_generation(place.slot, NO_GENERATION)
        if self.memory[hold_at(place.slot)]:
            self._set_generation(place.slot, place.generation)
            return False
        del self._in_use[place.slot]
        self._slots.append(place.slot)
        self._extents.give_back(place.offset, place.nbytes)
        return True

    def _set_generation(self, slot: int, generation: int) -> None:
        """Others see this before anything that we write or read later."""
        GENERATION.pack_into(self.memory, generation_at(slot), generation)
        # To let go of a lock and to take one is what Python has of memory barriers.
        with self._fence:
            pass
        with self._fence:
            pass

    def _give_back_memory(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < MEMORY_KEPT_S:
            return
        # The pages of some systems are larger than ours, and only whole ones can be given back.
        start = -(-self._peak_end // mmap.PAGESIZE) * mmap.PAGESIZE
        if start < self._warm_end:
            self.memory.madvise(mmap.MADV_REMOVE, start, self._warm_end - start)
            self._warm_end = start
            self._filled_end = min(self._filled_end, start)
        self._looked_at = now
        self._peak_end = max(place.offset + place.nbytes for place in self._in_use.values())
