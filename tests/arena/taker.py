"""A broker in a process of its own, which takes what is named on its standard input as fast as it can.

It reads where the segment is, and then reference after reference with what must be there. It prints how
many it took, and how many were gone by then; it ends with an error if what it holds changes.
"""

from __future__ import annotations

import random
import struct
import sys
from collections import deque
from typing import BinaryIO

from pyrotask.arena import Opening, Reference, Shelf, StaleReference, Visitor
from pyrotask.core.blocks import Block

WHERE = struct.Struct("=II16s")
NAMED = struct.Struct("=48s8s")
MOST_HELD = 3


def take_all(source: BinaryIO) -> tuple[int, int]:
    """Take until the source ends. Returns how many were taken, and how many were gone."""
    shelf = Shelf(lambda errand: errand())
    visitor = Visitor(shelf)
    assert visitor.show(Opening(*WHERE.unpack(source.read(WHERE.size))))
    held: deque[tuple[Block, bytes]] = deque()
    taken = gone = 0
    while named := source.read(NAMED.size):
        reference, word = NAMED.unpack(named)
        try:
            held.append((shelf.block(Reference.unpack(reference)), word))
        except StaleReference:
            gone += 1
            continue
        taken += 1
        check(*held[-1])
        while len(held) > random.randint(0, MOST_HELD):
            check(*held.popleft())
    return taken, gone


def check(block: Block, word: bytes) -> None:
    """Fail if the block has anything but this word, again and again."""
    assert bytes(block.read()) == word * (len(block) // len(word)), "what is held has changed"


if __name__ == "__main__":
    print(*take_all(sys.stdin.buffer))
