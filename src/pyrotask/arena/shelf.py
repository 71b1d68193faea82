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
from collections import Counter
from collections.abc import Callable
from functools import partial

from pyrotask.arena import memfd
from pyrotask.arena.holding import Segment, StaleReference
from pyrotask.arena.layout import BEGINNING_BYTES, Offer, Reference, whole_pages
from pyrotask.arena.memfd import NoSegment, Opening, close_quietly
from pyrotask.arena.sealed import Sealed
from pyrotask.core.blocks import Block

log = logging.getLogger("pyrotask.arena")

MOST_SEGMENTS = 1024
"""Descriptors that a broker spends for segments, and no more than an eighth of all: it needs them for
connections."""


class Shelf:
    """All segments that a broker has open. Thread-safe.

    Args:
        run: does what takes long, soon, in another thread.
    """

    def __init__(self, run: Callable[[Callable[[], object]], object]) -> None:
        self._run = run
        self._segments: weakref.WeakValueDictionary[bytes, Segment] = weakref.WeakValueDictionary()
        self._sealed: weakref.WeakSet[Sealed] = weakref.WeakSet()
        """That we have open."""
        self._blocks: weakref.WeakValueDictionary[Offer, Block] = weakref.WeakValueDictionary()
        """What was offered in sealed memory, and is needed: there, or in a file by now."""
        self._visitors: Counter[int] = Counter()
        """How many each process has."""
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

    def sealed_block(self, offer: Offer) -> Block:
        """What is offered in sealed memory: the same block, however often that is offered.

        Raises:
            StaleReference: it is not there, or we have too many open.
        """
        with self._opening:
            block = self._blocks.get(offer)  # who can name its identity can open it, as with all segments
            if block is None:
                block = self._blocks[offer] = Block(self._opened(offer))
            return block

    def _opened(self, offer: Offer) -> Sealed:
        # A copy of it would be made in the loop's thread: to take the bytes, as they come, holds up nobody.
        if len(self._sealed) >= _most_segments() // 2:
            raise StaleReference("too much sealed memory is open here: send the bytes")
        try:
            sealed = Sealed.open(offer)
        except NoSegment as error:
            log.debug("%s", error)
            raise StaleReference(
                "a buffer is said to be in sealed memory that cannot be opened here: send the bytes"
            ) from None
        self._sealed.add(sealed)
        return sealed

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

    def came(self, process: int) -> None:
        """It has one more connection. For the loop's thread, as is `went`."""
        self._visitors[process] += 1

    def went(self, process: int) -> None:
        """It has one less. After the last, what it had sealed stays open while the disk does not have it."""
        self._visitors[process] -= 1
        if self._visitors[process]:
            return
        del self._visitors[process]
        with self._opening:
            sealed = list(self._sealed)
        if sealed:
            self._run(partial(_drop_what_was_made_by, process, sealed))

    def close(self) -> None:
        """There will be no more visitors. What is held stays so. Idempotent."""
        if self.plate is not None:
            self._close_plate()


def _drop_what_was_made_by(process: int, sealed: list[Sealed]) -> None:
    for each in sealed:
        each.maker_has_gone(process)


def _most_segments() -> int:
    return min(MOST_SEGMENTS, memfd.most_descriptors() // 8)


class Visitor:
    """A connection from this host. For the loop's thread.

    Attributes:
        opens_ours: whether it can be sent references.
    """

    __slots__ = ("_process", "_segment", "_shelf", "opens_ours")

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._process: int | None = None
        self._segment: Segment | None = None
        self.opens_ours = False

    @property
    def plate(self) -> Opening | None:
        """What it has to open before it may say that it can."""
        return self._shelf.plate

    def show(self, where: Opening) -> bool:
        """It can open our segments, and shows its own, if that has an identity. False: we cannot open it."""
        self.opens_ours = True
        if self._process is None:
            self._process = where.process
            self._shelf.came(where.process)
        if not where.identity:
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
        process, self._process = self._process, None
        if process is not None:
            self._shelf.went(process)
