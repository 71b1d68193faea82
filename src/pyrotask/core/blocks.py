"""Blocks: large buffers, whose bytes may be kept elsewhere than in memory of our own.

The core hands blocks on, and compares them for keys; it never reads one. A block begins in
memory: our own, or memory that is shared with another process. The journal on disk gives it a
place in a file, and takes it out of memory sooner or later; from then on `Block.read` reads that
file. A journal in memory leaves it where it is. Whoever makes a payload sets its large buffers
apart (`in_blocks`); whoever decodes or sends one reads it, outside of the broker's lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol, cast

BLOCK_BYTES = 4096
"""From this size on a buffer is a block: a page of a disk. A smaller one costs less in memory than
a second file on its way to the disk."""

DIGEST_BYTES = 20

OLD_DIGEST_BYTES = 16
"""As they are in older journals: of another kind, which took three times as long."""


class Home(Protocol):
    """A file that has blocks. It must stay for as long as somebody refers to this object."""

    def read(self, block: Block) -> bytes:
        """The bytes of a block that is there; proved to be the right ones. Reads the disk."""


class Packable(Protocol):
    """What stands for something on the wire."""

    def pack(self) -> bytes:
        """What travels."""


class Shared(Protocol):
    """Bytes in memory that we share with others. They stay for as long as somebody refers to this object."""

    @property
    def reference(self) -> Packable | None:
        """How others find them; None: they are in memory of our own by now."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self) -> bytearray | bytes:
        """A copy, if it is a bytearray: then it belongs to the caller."""

    def read_into(self, room: memoryview, start: int) -> None:
        """Copy as many of them there, from that one on, as there is room for."""

    def can_be_dropped(self, drop: Callable[[], Callable[[], None] | None]) -> None:
        """It is on the disk as well: if its memory has to go, call what ``drop`` gives, and copy nothing.

        ``drop`` is a weak reference.
        """


class Block:
    """The bytes of a large buffer, wherever they are. Blocks of the same bytes are equal.

    Attributes:
        nbytes: how many there are.
        home: the file that has them, or will have when the journal has come so far; None: none.
        offset: where in it.
    """

    __slots__ = ("__weakref__", "_data", "_digest", "home", "nbytes", "offset")
    # Equal to the same bytes, which have a hash that takes reading all of them.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: bytes | Shared) -> None:
        self._data: bytes | bytearray | Shared | None = data
        self._digest: bytes | None = None
        self.nbytes = len(data)
        self.home: Home | None = None
        self.offset = 0

    @classmethod
    def at(cls, home: Home, offset: int, nbytes: int, digest: bytes) -> Block:
        """A block that is in a file, as a journal remembers it."""
        block = cls(b"")
        block._data, block._digest, block.nbytes = None, digest, nbytes
        block.home, block.offset = home, offset
        return block

    @property
    def is_in_memory(self) -> bool:
        """Whether it is read without a disk."""
        return self._data is not None

    @property
    def shared(self) -> Shared | None:
        """The memory that we share with others, if it is (still) there."""
        data = self._data
        if data is None or isinstance(data, bytes | bytearray) or data.reference is None:
            return None
        return data

    @property
    def digest(self) -> bytes:
        """What tells it from other blocks, and damaged bytes from its own."""
        if self._digest is None:
            assert self._data is not None, "a block that was placed has its digest"
            self._digest = digest_of(self.read())
        return self._digest

    def read(self) -> bytes:
        """The bytes. Reads the disk, if they are not in memory; raises what `Home.read` does.

        Of shared memory it is a copy, and a bytearray, which the caller may give away.
        """
        data = self._data  # once: the journal may take them out of memory meanwhile
        if data is not None:
            return cast("bytes", data if isinstance(data, bytes | bytearray) else data.read())
        assert self.home is not None, "a block is in memory, or at home"
        return self.home.read(self)

    def piece(self, start: int, room: memoryview) -> memoryview:
        """Some of the bytes, from that one on: as many as there is room for. They are in memory still.

        Those of shared memory are copied to the room: nobody else can change what was returned.
        """
        data = self._data
        assert data is not None, "a block is written once, and stays in memory until then"
        if isinstance(data, bytes | bytearray):
            return memoryview(data)[start : start + len(room)]
        filled = room[: self.nbytes - start]
        data.read_into(filled, start)
        return filled

    def place(self, home: Home, offset: int, digest: bytes) -> None:
        """It is there, or will be before anybody reads it there; what is there has that digest.

        The bytes stay in memory until `leave_memory`.
        """
        self._digest = digest  # of what was written: who shares the memory could change it
        self.offset = offset
        self.home = home

    def leave_memory(self) -> None:
        """It is at home now."""
        self._data = None

    def __len__(self) -> int:
        return self.nbytes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes):
            return self.nbytes == len(other) and self.digest == digest_of(other, len(self.digest))
        if isinstance(other, Block):
            return self is other or (self.nbytes == other.nbytes and self._has_digest_of(other))
        return NotImplemented

    def _has_digest_of(self, other: Block) -> bool:
        ours, theirs = self.digest, other.digest
        if len(ours) == len(theirs):
            return ours == theirs
        if self.is_in_memory:  # one of the two is of an older journal, and the other one is new
            return digest_of(self.read(), len(theirs)) == theirs
        return digest_of(other.read(), len(ours)) == ours

    def __repr__(self) -> str:
        return f"<block of {self.nbytes} bytes>"


Buffer = bytes | Block


def in_blocks(buffers: Sequence[Buffer]) -> tuple[Buffer, ...]:
    """The same buffers, with each large one a block. Those that are blocks stay as they are."""
    if max(map(len, buffers), default=0) < BLOCK_BYTES:  # as it is with almost all
        return tuple(buffers)
    return tuple(
        [
            buffer if len(buffer) < BLOCK_BYTES or isinstance(buffer, Block) else Block(buffer)
            for buffer in buffers
        ]
    )


def digest_of(data: bytes, nbytes: int = DIGEST_BYTES) -> bytes:
    """What tells these bytes from others. ``nbytes``: how long it is, and so of which kind."""
    if nbytes == OLD_DIGEST_BYTES:
        return hashlib.blake2b(data, digest_size=OLD_DIGEST_BYTES).digest()
    digest = new_digest()
    digest.update(data)
    return digest.digest()


class Digest(Protocol):
    """A digest in the making."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Go on with these bytes."""

    def digest(self) -> bytes:
        """That of all of them."""


def new_digest() -> Digest:
    """Begin a digest.

    It is against disks that err, and tells a user's own values apart; nobody has to be kept from making
    two values with the same one. So it is the fastest one that every Python has.
    """
    return hashlib.sha1(usedforsecurity=False)
