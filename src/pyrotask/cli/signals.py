"""Signals as things to wait for, in the main thread, without races."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def arriving(*numbers: int) -> Iterator[queue.SimpleQueue[object]]:
    """Lend a queue into which these signals' numbers are put, instead of what they did before.

    Others may put into it too, from any thread, to wake whoever waits. Main thread only.
    """
    # Of all ways to wait, SimpleQueue is the one whose `put` may interrupt a `get` of the same thread.
    arrived: queue.SimpleQueue[object] = queue.SimpleQueue()

    def put(number: int, _: FrameType | None) -> None:
        arrived.put(number)

    before = {number: signal.signal(number, put) for number in numbers}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
