"""What the tests of the arena share: both sides of it in one process, with nobody between them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

from pyrotask.arena import Arena, Opening, Reader, Reference, Region, Shelf, Visitor
from pyrotask.arena.layout import DATA_AT, PAGE_BYTES
from pyrotask.core.blocks import Block


class Sides:
    """A client with an arena of so many pages, and a broker. What the broker does later is in ``errands``."""

    def __init__(self, pages: int) -> None:
        self.errands: list[Callable[[], object]] = []
        self.shelf = Shelf(self.errands.append)
        self.visitor = Visitor(self.shelf)
        assert self.shelf.plate is not None
        self.reader = Reader(self.shelf.plate)
        self.arena = Arena(DATA_AT + pages * PAGE_BYTES, smallest_bytes=1)
        self.arena.serve(self.shelf.plate.identity)

    def sent(self, data: bytes) -> tuple[Block | None, Reference | None]:
        """Put it into the arena, and show the arena to the broker."""
        block = self.arena.keep(data)
        if block is None:
            return None, None
        region = cast("Region", block.shared)
        segment = region.segment
        assert self.visitor.show(Opening(os.getpid(), segment.descriptor, segment.identity))
        return block, region.reference


def reference_of(block: Block) -> Reference:
    """What the broker sends for a block."""
    assert block.shared is not None
    return cast("Reference", block.shared.reference)
