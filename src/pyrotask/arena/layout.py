"""Where things are in a segment, and what a reference to a place in it looks like on the wire.

A segment begins with a page that says what it is, and its *identity*, which nobody can guess::

    "pyrotask arena 1"  identity (16 bytes)

Then there is a table of slots, one for each place in use: its generation, and the broker's hold.
The data come behind it. **Both sides of a connection have to agree on all of this.**
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Self

PAGE_BYTES = 4096

MAGIC = b"pyrotask arena 1"
IDENTITY_BYTES = 16
BEGINNING_BYTES = len(MAGIC) + IDENTITY_BYTES

SLOTS = 2048
"""Places in use at the same time, at most."""

SLOT_BYTES = 16
TABLE_AT = PAGE_BYTES
DATA_AT = TABLE_AT + SLOTS * SLOT_BYTES
"""Where the first place can be: a multiple of a page."""

SEALED_DATA_AT = 65536
"""Where the data are in sealed memory: at a page of every system, so that they can be mapped alone."""

GENERATION = struct.Struct("=Q")
NO_GENERATION = 0

EXTENSION = 80
"""The type of msgpack's extension that is a reference."""

_REFERENCE = struct.Struct("!16sIIQQQ")

SEALED_EXTENSION = 81
"""The type of one that refers to sealed memory, on its way to the broker: see `Offer`."""

_PROCESS = struct.Struct("!I")


class Reference(NamedTuple):
    """A buffer in a segment."""

    identity: bytes
    """Of the segment. Who knows it may name places in it: only those who can open it know it."""
    descriptor: int
    """The broker's, for those who have to open it. On the way to the broker it means nothing."""
    slot: int
    generation: int
    offset: int
    nbytes: int

    def pack(self) -> bytes:
        """What travels."""
        return _REFERENCE.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read what `pack` wrote. Raises ValueError if it is no reference."""
        try:
            reference = cls(*_REFERENCE.unpack(data))
        except struct.error:
            raise ValueError(f"a reference has {_REFERENCE.size} bytes, not {len(data)}") from None
        is_possible = reference.slot < SLOTS and reference.offset >= DATA_AT and reference.nbytes > 0
        if not is_possible or reference.generation == NO_GENERATION:
            raise ValueError(f"there can be no place like this in a segment: {reference[2:]}")
        return reference


class Offer(NamedTuple):
    """A buffer in sealed memory, and the process where the broker can open that."""

    process: int
    reference: Reference
    """With that process's descriptor."""

    def pack(self) -> bytes:
        """What travels."""
        return _PROCESS.pack(self.process) + self.reference.pack()

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read what `pack` wrote. Raises ValueError if it is none."""
        reference = Reference.unpack(data[_PROCESS.size :])
        return cls(_PROCESS.unpack_from(data)[0], reference)


def generation_at(slot: int) -> int:
    """Where in the segment the slot's generation is."""
    return TABLE_AT + slot * SLOT_BYTES


def hold_at(slot: int) -> int:
    """Where in the segment the byte is that says whether the broker holds the slot."""
    return TABLE_AT + slot * SLOT_BYTES + GENERATION.size


def whole_pages(nbytes: int) -> int:
    """How many bytes the pages have that so many bytes need."""
    return -(-nbytes // PAGE_BYTES) * PAGE_BYTES
