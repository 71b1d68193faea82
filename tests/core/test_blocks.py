"""Blocks: large buffers are the same wherever their bytes are."""

from __future__ import annotations

import pytest

from pyrotask.core.blocks import BLOCK_BYTES, OLD_DIGEST_BYTES, Block, digest_of
from pyrotask.core.model import PLAIN, Payload

LARGE = b"x" * BLOCK_BYTES


class Home:
    """A file with one block in it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, block: Block) -> bytes:
        return self._data[block.offset : block.offset + block.nbytes]


class Reference:
    """How others find it."""

    def pack(self) -> bytes:
        return b"there"


class SharedMemory:
    """Bytes that somebody else could change."""

    reference: Reference | None = Reference()

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def read(self) -> bytearray:
        return bytearray(self.data)

    def read_into(self, room: memoryview, start: int) -> None:
        room[:] = self.data[start : start + len(room)]

    def can_be_dropped(self, drop: object) -> None:
        raise AssertionError("no journal has it")


def at_home(data: bytes) -> Block:
    """A block whose bytes are in a file only."""
    block = Block(data)
    block.place(Home(b"before" + data), 6, digest_of(data))
    block.leave_memory()
    return block


def test_a_payload_of_small_buffers_stays_as_it_is() -> None:
    payload = Payload(PLAIN, (b"small", b"x" * (BLOCK_BYTES - 1)))

    assert [type(buffer) for buffer in payload.in_blocks().buffers] == [bytes, bytes]
    assert payload.in_blocks() == payload


def test_only_large_buffers_become_blocks() -> None:
    small = LARGE[:-1]
    payload = Payload(PLAIN, (small, LARGE)).in_blocks()

    assert [type(buffer) for buffer in payload.buffers] == [bytes, Block]
    assert payload.read() == (small, LARGE)
    assert payload.nbytes == len(small) + len(LARGE)


def test_a_block_is_read_where_it_is() -> None:
    block = Block(LARGE)
    assert (block.is_in_memory, block.read()) == (True, LARGE)
    block.place(Home(LARGE), 0, digest_of(LARGE))
    assert (block.is_in_memory, block.read()) == (True, LARGE)
    block.leave_memory()

    assert (block.is_in_memory, block.read()) == (False, LARGE)


def test_what_is_away_is_known() -> None:
    assert Payload(PLAIN, (b"here", Block(LARGE), at_home(LARGE))).bytes_away == len(LARGE)


def test_shared_memory_is_sent_as_it_is_and_all_else_as_bytes() -> None:
    shared = Block(SharedMemory(LARGE))
    payload = Payload(PLAIN, (b"here", Block(LARGE), at_home(LARGE), shared))

    assert payload.to_send() == [b"here", LARGE, LARGE, shared]
    assert [type(buffer) for buffer in payload.to_send()] == [bytes, bytes, bytes, Block]
    assert payload.shared_bytes == len(LARGE)
    assert Payload(PLAIN, (b"here",)).shared_bytes == 0


def test_what_was_taken_home_is_shared_no_more() -> None:
    memory = SharedMemory(LARGE)
    block = Block(memory)
    memory.reference = None
    assert (block.shared, block.read()) == (None, LARGE)


def test_small_buffers_are_sent_as_they_are() -> None:
    assert Payload(PLAIN, (b"one", b"two")).to_send() == [b"one", b"two"]


def test_what_is_read_of_shared_memory_is_a_copy() -> None:
    memory = SharedMemory(LARGE)
    read = Block(memory).read()
    memory.data = b"y" * len(LARGE)
    assert read == LARGE


@pytest.mark.parametrize("block", [Block(LARGE), Block(SharedMemory(LARGE))])
def test_a_block_is_written_in_pieces(block: Block) -> None:
    room = memoryview(bytearray(1000))
    pieces = [bytes(block.piece(start, room)) for start in range(0, BLOCK_BYTES, 1000)]
    assert [len(piece) for piece in pieces] == [1000, 1000, 1000, 1000, BLOCK_BYTES - 4000]
    assert b"".join(pieces) == LARGE


def test_nobody_can_change_a_piece_that_is_being_written() -> None:
    memory = SharedMemory(LARGE)
    piece = Block(memory).piece(0, memoryview(bytearray(BLOCK_BYTES)))
    memory.data = b"y" * BLOCK_BYTES
    assert piece == LARGE


def test_a_block_on_disk_is_known_by_what_is_there() -> None:
    memory = SharedMemory(LARGE)
    block = Block(memory)
    block.place(Home(LARGE), 0, digest_of(LARGE))
    memory.data = b"y" * BLOCK_BYTES
    assert block == LARGE


@pytest.mark.parametrize("other", [LARGE, Block(LARGE), at_home(LARGE)])
def test_blocks_of_the_same_bytes_are_equal(other: object) -> None:
    assert at_home(LARGE) == other
    assert Block(LARGE) == other


@pytest.mark.parametrize("other", [b"y" * BLOCK_BYTES, LARGE[:-1], Block(LARGE + b"x"), "a text"])
def test_blocks_of_other_bytes_are_not(other: object) -> None:
    assert Block(LARGE) != other


@pytest.mark.parametrize("other", [LARGE, Block(LARGE), at_home(LARGE)])
def test_a_block_of_an_older_journal_is_equal_to_the_same_bytes(other: object) -> None:
    old = Block.at(Home(LARGE), 0, BLOCK_BYTES, digest_of(LARGE, OLD_DIGEST_BYTES))
    assert old == other
    assert other == old
    assert old != b"y" * BLOCK_BYTES
    assert Block(b"y" * BLOCK_BYTES) != old


def test_a_block_that_a_journal_remembers_is_the_one_that_it_was() -> None:
    block = Block(LARGE)
    remembered = Block.at(Home(LARGE), 0, block.nbytes, block.digest)

    assert remembered == block
    assert remembered.read() == LARGE
    assert repr(remembered) == f"<block of {BLOCK_BYTES} bytes>"
