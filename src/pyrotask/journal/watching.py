"""How far the reading of a journal is, for whoever waits for it: a long one takes a while.

Whoever wants to know says so around the reading, in the same thread. What lies between the two,
from a server down to the file, has no other interest in it, and so is not troubled with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

_watcher: ContextVar[Callable[[int], None] | None] = ContextVar("watcher", default=None)


@contextlib.contextmanager
def watched(on_read: Callable[[int], None]) -> Iterator[None]:
    """Have ``on_read`` called, as often as a commit is read, with the bytes that are read by now."""
    read = 0

    def add(more: int) -> None:
        nonlocal read
        read += more
        on_read(read)

    token = _watcher.set(add)
    try:
        yield
    finally:
        _watcher.reset(token)


def watcher() -> Callable[[int], None] | None:
    """What is to be called with the size of each piece that is read; None: nobody wants to know."""
    return _watcher.get()
