"""One `Executor.map`: its items, as chunks that size themselves, and its results in their order.

Without a chunk size, the first chunks are single calls, for each worker some; what they took says
how many calls the next chunk has. Chunks get smaller towards the end, so that all workers end at
about the same time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from pyrotask.client.outcomes import raised
from pyrotask.worker.functions import Chunk

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pyrotask.client.future import TaskFuture

CHUNK_S = 0.05
"""How long a chunk is to take: then what it costs to send it is nothing, and a worker that has the last
one keeps nobody waiting."""

ITEM_S = 2e-6
"""What an item costs to encode and to decode: so that chunks of nothing but that are bounded."""

MOST_ITEMS = 10_000
"""In a chunk whose size was not said."""

CHUNKS_AHEAD = 3
"""For each worker: one that it runs, one that it has prefetched, one that waits."""

LEAST_AHEAD = 8
"""Chunks under way, however few workers there are: more may come."""


class Mapping:
    """The items and the chunks. `results` is for one thread; the rest is done as chunks come back.

    Args:
        submit: submits a chunk of items. Its future's value is a `Chunk`.
        items: what is mapped over.
        workers: how many there are.
        chunksize: how many items make a chunk; None: found out.
        buffersize: how many items may be under way or unread; None: all are collected now.
    """

    def __init__(
        self,
        submit: Callable[[list[Any]], TaskFuture],
        items: Iterable[Any],
        *,
        workers: int,
        chunksize: int | None,
        buffersize: int | None,
    ) -> None:
        for name, value in (("chunksize", chunksize), ("buffersize", buffersize)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self._submit = submit
        self._chunksize = chunksize
        self._buffersize = buffersize
        self._left: int | None = None
        """How many items are not submitted; None: nobody knows."""
        if buffersize is None:
            items = list(items)
            self._left = len(items)
        self._items = iter(items)
        self._is_over = False
        self._workers = max(1, workers)
        self._lock = threading.RLock()  # a chunk that is done at once comes back within its submit
        self._chunks: deque[tuple[TaskFuture, int]] = deque()
        """Those whose results were not asked for yet, and how many items each has."""
        self._under_way = 0
        self._unread = 0
        """Items that were submitted, and whose results were not given out."""
        self._done, self._seconds = 0, 0.0
        """How many items were done, and how long they took."""
        self._pump()

    def results(self, timeout_s: float | None) -> Iterator[Any]:
        """The results. The timeout counts from now on. Whoever stops asking has the rest cancelled."""
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        results = self._results(give_up_at)
        next(results)  # so that its end is noticed also if it never was asked for a result
        return results

    def _results(self, give_up_at: float | None) -> Iterator[Any]:
        try:
            yield None
            while (chunk := self._next_chunk()) is not None:
                left_s = None if give_up_at is None else max(0.0, give_up_at - time.monotonic())
                values, failure, _ = Chunk(*chunk.result(left_s))
                del chunk
                values.reverse()
                while values:
                    with self._lock:
                        self._unread -= 1
                    yield values.pop()
                    if self._buffersize is not None:
                        self._pump()
                if failure is not None:
                    kind, buffers, *told = failure
                    raise raised([[kind, buffers], *told], "map", 0)
        finally:
            self._give_up()

    def _next_chunk(self) -> TaskFuture | None:
        with self._lock:
            if not self._chunks:
                self._submit_chunk()
            return self._chunks.popleft()[0] if self._chunks else None

    def _give_up(self) -> None:
        with self._lock:
            self._is_over = True
            chunks, self._chunks = self._chunks, deque()
        for future, _ in chunks:
            future.cancel()

    # --- submitting ---------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Submit as many chunks as may be under way."""
        with self._lock:
            while not self._is_over and self._has_room() and self._submit_chunk():
                pass

    def _has_room(self) -> bool:
        if self._buffersize is not None and self._unread >= self._buffersize:
            return False
        if self._chunksize is not None:
            return True
        return self._under_way < max(LEAST_AHEAD, CHUNKS_AHEAD * self._workers)

    def _submit_chunk(self) -> bool:
        items = [] if self._is_over else list(islice(self._items, self._next_size()))
        if not items:
            self._is_over = True
            return False
        if self._left is not None:
            self._left -= len(items)
        self._unread += len(items)
        self._under_way += 1
        future = self._submit(items)
        self._chunks.append((future, len(items)))
        future.add_done_callback(self._chunk_is_back)
        return True

    def _next_size(self) -> int:
        size = self._chunksize or self._measured_size()
        return size if self._buffersize is None else max(1, min(size, self._buffersize - self._unread))

    def _measured_size(self) -> int:
        if not self._done:
            return 1
        size = round(CHUNK_S / (self._seconds / self._done + ITEM_S))
        if self._left is not None:
            size = min(size, self._left // (2 * self._workers))
        return max(1, min(size, MOST_ITEMS))

    def _chunk_is_back(self, future: Future[Any]) -> None:
        with self._lock:
            self._under_way -= 1
            if not future.cancelled() and future.exception() is None:
                values, _, seconds = Chunk(*future.result())
                self._done += len(values)
                self._seconds += seconds
        self._pump()
