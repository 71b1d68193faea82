"""Large values stay in memory for a while after they were written, within bounds."""

from __future__ import annotations

import math

from pyrotask.core.blocks import BLOCK_BYTES, Block
from pyrotask.journal.recent import Recent


class File:
    """A file of blocks, with zeros."""

    def read(self, block: Block) -> bytes:
        return bytes(block.nbytes)


def written() -> Block:
    """A block that is on disk."""
    block = Block(bytes(BLOCK_BYTES))
    block.place(File(), 0, block.digest)
    return block


def in_memory(blocks: list[Block]) -> list[bool]:
    return [block.is_in_memory for block in blocks]


def kept(recent: Recent, count: int) -> list[Block]:
    blocks = [written() for _ in range(count)]
    for block in blocks:
        recent.keep(block)
    return blocks


def test_what_came_first_stays_for_as_long_as_there_is_room() -> None:
    blocks = kept(Recent(2 * BLOCK_BYTES, stay_s=math.inf), 3)
    assert in_memory(blocks) == [True, True, False]
    assert blocks[2].read() == bytes(BLOCK_BYTES)


def test_what_was_not_wanted_for_a_while_makes_room() -> None:
    assert in_memory(kept(Recent(2 * BLOCK_BYTES, stay_s=0), 3)) == [False, True, True]


def test_what_is_gone_makes_room() -> None:
    recent = Recent(2 * BLOCK_BYTES, stay_s=math.inf)
    for _ in range(10):
        assert in_memory(kept(recent, 2)) == [True, True]


def test_what_is_larger_than_all_room_takes_none_from_others() -> None:
    recent = Recent(BLOCK_BYTES, stay_s=0)
    first = kept(recent, 1)
    large = Block(bytes(BLOCK_BYTES + 1))
    large.place(File(), 0, large.digest)
    recent.keep(large)
    assert in_memory([*first, large]) == [True, False]


def test_nothing_stays_if_nothing_may() -> None:
    assert in_memory(kept(Recent(0, 0), 1)) == [False]
