"""Blocks: large buffers, whose bytes may be kept elsewhere than in memory of our own.

The core hands blocks on, and compares them for keys; it never reads one. A block begins in
memory: our own, or memory that is shared with another process. The journal on disk gives it a
place in a file and takes it out of memory; from then on `Block.read` reads that file. A journal in
memory leaves it where it is. Whoever makes a payload sets its large buffers apart (`in_blocks`);
whoever decodes or sends one reads it, outside of the broker's lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol, cast

BLOCK_BYTES = 4096
"""From this size on a buffer is a block: a page of a disk. A smaller one costs less in memory than
a second file on its way to the disk."""

DIGEST_BYTES = 16


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


class Block:
    """The bytes of a large buffer, wherever they are. Blocks of the same bytes are equal.

    Attributes:
        nbytes: how many there are.
        home: the file that has them, or will have when the journal has come so far; None: none.
        offset: where in it.
    """

    __slots__ = ("_data", "_digest", "home", "nbytes", "offset")
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

    def place(self, home: Home, offset: int) -> None:
        """Say where it will be. The bytes stay in memory: our own, since others could change theirs."""
        if self.shared is not None:
            # bytes, since the readers of a bytearray may write to it
            self._data, self._digest = bytes(self.read()), None
        self._digest = self.digest  # to be known when the bytes have left
        self.offset = offset
        self.home = home

    def leave_memory(self) -> None:
        """It is at home now."""
        self._data = None

    def __len__(self) -> int:
        return self.nbytes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes):
            return self.nbytes == len(other) and self.digest == digest_of(other)
        if isinstance(other, Block):
            return self is other or (self.nbytes == other.nbytes and self.digest == other.digest)
        return NotImplemented

    def __repr__(self) -> str:
        return f"<block of {self.nbytes} bytes>"


Buffer = bytes | Block


def in_blocks(buffers: Iterable[Buffer]) -> tuple[Buffer, ...]:
    """The same buffers, with each large one a block. Those that are blocks stay as they are."""
    return tuple(
        [
            buffer if len(buffer) < BLOCK_BYTES or isinstance(buffer, Block) else Block(buffer)
            for buffer in buffers
        ]
    )


def digest_of(data: bytes) -> bytes:
    """What tells these bytes from others."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
