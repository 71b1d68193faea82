"""Memory for what is read, which is used again once nobody uses what was in it.

A new buffer of some megabytes is new memory from the system each time, and its pages cost several
times what it takes to fill them. A worker gets arguments of the same size again and again, and drops
them when their task is over.
"""

from __future__ import annotations

import sys

MOST_BYTES = 64 << 20
"""How much is kept, in use or not: what a worker process may have more than it would without this."""


class Recycling:
    """Gives out buffers. For one thread at a time.

    A buffer is given out again when nothing refers to it but this: neither what it was given to, nor
    an array or a view that lives in its memory, since each of these refers to it.
    """

    def __init__(self) -> None:
        self._buffers = [bytearray()]
        """What was given out last stands last."""
        self._bytes = 0
        self._references_of_a_free_one = self._references(0)
        del self._buffers[0]

    def buffer(self, nbytes: int) -> bytearray:
        """A buffer of that length, with anything in it."""
        if nbytes > MOST_BYTES:
            return bytearray(nbytes)
        found = self._free_one(nbytes)
        if found is None:
            found = bytearray(nbytes)
            self._bytes += nbytes
        self._buffers.append(found)
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._buffers.pop(0))
        return found

    def _free_one(self, nbytes: int) -> bytearray | None:
        for index in range(len(self._buffers)):
            is_free = self._references(index) == self._references_of_a_free_one
            if is_free and len(self._buffers[index]) == nbytes:
                return self._buffers.pop(index)
        return None

    def _references(self, index: int) -> int:
        return sys.getrefcount(self._buffers[index])
