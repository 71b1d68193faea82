"""Sealed memory: a large buffer that many will read, in a segment of its own that nobody can change any more.

What lies in an arena is copied out by whoever reads it, since its place will be used again. A value that
is stored for many tasks would so be copied by each worker, into new memory, which takes longer than all
else together. Sealed memory is written once and never used again: the system itself refuses to write to
it. So workers map it, each for itself: a page is copied only if and when a task writes to it, and nobody
else sees that.

There is nothing to hold, and no generation that could change: who has the segment open has what is in
it, also when its maker and the broker have ended. It goes with the last who has it open, or mapped.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

from pyrotask.arena import memfd
from pyrotask.arena.layout import GENERATION, SEALED_DATA_AT, Offer, Reference, generation_at
from pyrotask.arena.memfd import NoSegment, Opening, Room

SMALLEST_BYTES = 1 << 20
"""From this size on a buffer that is to be sealed is: to map a smaller one takes as long as to copy it."""

MOST_MADE = 64
"""So many a process has at a time: each takes a descriptor."""

MOST_IN_USE = 512
"""Whoever has so many descriptors copies, also where he may have a million: ``select`` knows the first 1,024
only, and a process can have no more than 65,530 mappings, of which its memory is made, too."""

_SLOT, _GENERATION = 0, 1


class Sealed:
    """A buffer in sealed memory, which stays for as long as this object. Thread-safe.

    Attributes:
        reference: what to send to those who can open our segments.
    """

    __slots__ = ("__weakref__", "_drop", "_maker", "reference")

    def __init__(self, reference: Reference, maker: int) -> None:
        self.reference = reference
        self._maker = maker
        self._drop: Callable[[], Callable[[], None] | None] | None = None
        weakref.finalize(self, memfd.close_quietly, reference.descriptor).atexit = False

    @classmethod
    def make(cls, data: bytes | memoryview) -> Sealed:
        """Copy the data to sealed memory. Raises OSError."""
        table = GENERATION.pack(_GENERATION)  # for those who merely copy
        descriptor, identity = memfd.make_sealed(data, SEALED_DATA_AT, table, generation_at(_SLOT))
        reference = Reference(identity, descriptor, _SLOT, _GENERATION, SEALED_DATA_AT, len(data))
        return cls(reference, os.getpid())

    @classmethod
    def open(cls, offer: Offer) -> Sealed:
        """Open what another process has made.

        Raises:
            NoSegment: it is not there, or is not sealed, or has nothing like this.
        """
        reference = offer.reference
        where = Opening(offer.process, reference.descriptor, reference.identity)
        descriptor = memfd.open_segment(where)
        sealed = cls(reference._replace(descriptor=descriptor), offer.process)
        try:
            is_whole = reference.offset + reference.nbytes <= os.fstat(descriptor).st_size
            if not (is_whole and memfd.is_sealed(descriptor) and _has_generation(descriptor, reference)):
                raise NoSegment(f"{where} is not sealed, or has nothing like {reference[2:]}")
        except OSError as error:
            raise NoSegment(f"{where} cannot be read: {error}") from error
        return sealed

    @property
    def offer(self) -> Offer:
        """What to send to a broker, which opens it here, if it was made here."""
        return Offer(self._maker, self.reference)

    def __len__(self) -> int:
        return self.reference.nbytes

    def read(self) -> bytearray:
        """A copy. Raises OSError."""
        return memfd.read_into(bytearray(len(self)), self.reference.descriptor, self.reference.offset)

    def read_into(self, room: Room, start: int) -> None:
        """Copy as many of its bytes there, from that one on, as there is room for. Raises OSError."""
        memfd.read_into(room, self.reference.descriptor, self.reference.offset + start)

    def can_be_dropped(self, drop: Callable[[], Callable[[], None] | None]) -> None:
        """The disk has it as well. See `pyrotask.core.blocks.Shared`, and `maker_has_gone`."""
        self._drop = drop

    def maker_has_gone(self, process: int) -> None:
        """If it was made by that process, which should have no memory any more: let go if the disk has it."""
        drop = None if self._drop is None or process != self._maker else self._drop()
        if drop is not None:
            drop()


def _has_generation(descriptor: int, reference: Reference) -> bool:
    """Whether it will not be vain for those who merely copy. Raises OSError."""
    found = os.pread(descriptor, GENERATION.size, generation_at(reference.slot))
    return found == GENERATION.pack(reference.generation)


def mapped(descriptor: int, reference: Reference) -> memoryview | None:
    """The buffer, if it is in sealed memory: to be read, and to be written to for ourselves.

    It takes a descriptor for as long as it is there. None: it has to be copied. Raises OSError.
    """
    if reference.nbytes < SMALLEST_BYTES or not memfd.is_sealed(descriptor):
        return None
    # The system gives the lowest free number: so this tells how many are in use, by whomever.
    if descriptor >= min(memfd.most_descriptors() // 2, MOST_IN_USE):
        return None
    try:
        return memfd.map_own(descriptor, reference.offset, reference.nbytes)
    except OSError:  # no descriptor, no room for one more mapping, or whoever sealed it has other pages
        return None
