"""The side of whoever gets references from a broker: it copies what they refer to, or maps what is sealed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from pyrotask.arena.layout import GENERATION, Reference, generation_at
from pyrotask.arena.memfd import NoSegment, Opening, close_quietly, open_segment, read_into
from pyrotask.arena.sealed import mapped


class Vanished(Exception):
    """What was referred to is not there any more, since nobody needs it, or the broker has ended."""


class Reader:
    """Reads in segments that a broker has open. Thread-safe, if ``buffer`` is.

    Args:
        broker: the broker's plate (see `Shelf`).
        buffer: makes what is read into, of the length that it is given.

    Raises:
        NoSegment: we cannot open what the broker has open: it runs on another host, or in another
            container, or as another user.
    """

    def __init__(self, broker: Opening, buffer: Callable[[int], bytearray] = bytearray) -> None:
        self.broker = broker.identity
        """Which run of it."""
        self._process = broker.process
        self._buffer = buffer
        self.has_fetched = False
        """Whether anything came that way yet."""
        close_quietly(open_segment(broker))

    def fetch(self, reference: Reference) -> bytearray | memoryview:
        """What the reference refers to: our own, to be written to. A memoryview is of sealed memory.

        Raises:
            Vanished: it is not there any more.
        """
        try:
            descriptor = open_segment(Opening(self._process, reference.descriptor, reference.identity))
        except NoSegment as error:
            raise Vanished(str(error)) from error
        with contextlib.ExitStack() as closing:
            closing.callback(close_quietly, descriptor)
            try:
                own = mapped(descriptor, reference)
                if own is not None:
                    self.has_fetched = True
                    return own
                data = read_into(self._buffer(reference.nbytes), descriptor, reference.offset)
                now = os.pread(descriptor, GENERATION.size, generation_at(reference.slot))
            except OSError as error:
                raise Vanished(f"a buffer in shared memory cannot be read: {error}") from error
        # Only now: whoever has put something else there has changed the generation before.
        if now != GENERATION.pack(reference.generation):
            raise Vanished("a buffer in shared memory was dropped while it was on its way")
        self.has_fetched = True
        return data
