"""`AsyncClient`: the same for a program that runs in an event loop.

It is an `Executor` whose futures are the loop's. All waiting for the network is done in the session's
two threads, so thousands of tasks can be awaited over its connections, and the loop never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from pyrotask.client.executor import Executor
from pyrotask.config import Settings

AHEAD = 1_000
"""Calls of one `AsyncClient.map` that are under way: enough for all workers, and bounded."""


class AsyncClient:
    """Calls functions and handlers in worker processes, and has the results awaited in a running event loop.

    ::

        async with AsyncClient("campaign") as client:
            root = await client.submit("sqrt", 2.0)
            async for square in client.map(lambda x: x * x, range(1000)):
                ...

    Leaving the block waits for what was submitted; with an exception (a cancellation, say) the rest
    is cancelled. Where no block can span it, as over the cells of a notebook, there are `connect` and
    `close`. For one loop; the arguments are those of `Executor`.
    """

    def __init__(
        self,
        where: str | None = None,
        *,
        max_workers: int | None = None,
        name: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._make = partial(Executor, where, max_workers=max_workers, name=name, settings=settings)
        self._connecting = asyncio.Lock()
        self._executor: Executor | None = None

    async def connect(self) -> Self:
        """Connect, if it is not connected; returns the client: ``client = await AsyncClient().connect()``.

        Raises as `Executor` does.
        """
        async with self._connecting:
            if self._executor is None:
                self._executor = await asyncio.to_thread(self._make)
        return self

    async def close(self) -> None:
        """Wait for what was submitted, and disconnect. Idempotent; then it can `connect` again.

        Cancelled while it waits, it cancels the rest.
        """
        executor, self._executor = self._executor, None
        if executor is None:
            return
        try:
            await asyncio.to_thread(executor.shutdown)
        except asyncio.CancelledError:
            executor.cancel_all()
            raise

    async def __aenter__(self) -> Self:
        """`connect`."""
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._executor is not None:
            self._executor.cancel_all()
        await self.close()

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Have ``fn``, a function or the tag of a handler, called by a worker; await the result.

        To cancel what is returned, or the task that awaits it, cancels the call. It may be left
        unawaited for some time: the call is on its way at once.
        """
        return self.submit_with({}, fn, *args, **kwargs)

    def submit_with(
        self, options: dict[str, Any], fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        """`submit`, with options: ``{"retries": 3}``; see `Executor.with_options`."""
        executor = self._open
        chosen = executor.with_options(**options) if options else executor
        if executor.has_room:
            return asyncio.wrap_future(chosen.submit(fn, *args, **kwargs))
        return asyncio.ensure_future(self._submit_later(partial(chosen.submit, fn, *args, **kwargs)))

    async def map(
        self, fn: Callable[..., Any] | str, items: Iterable[Any], *, ahead: int = AHEAD
    ) -> AsyncIterator[Any]:
        """The results of ``fn`` with each item, in their order; at most so many calls are ``ahead``.

        Whoever stops iterating has the rest cancelled, once the iterator is closed.
        """
        under_way: deque[asyncio.Future[Any]] = deque()
        try:
            for item in items:
                under_way.append(self.submit(fn, item))
                if len(under_way) >= ahead:
                    yield await under_way.popleft()
            while under_way:
                yield await under_way.popleft()
        finally:
            for future in under_way:
                future.cancel()

    @property
    def executor(self) -> Executor:
        """The executor below: what it does blocks, so it is for other threads."""
        return self._open

    @property
    def _open(self) -> Executor:
        if self._executor is None:
            raise RuntimeError(
                "the client is not connected: use it in `async with AsyncClient(...) as client:`, or "
                "`await client.connect()` first"
            )
        return self._executor

    @staticmethod
    async def _submit_later(submit: Callable[[], Any]) -> Any:
        """Too much is unsent: wait for room in a thread, not in the loop."""
        return await asyncio.wrap_future(await asyncio.to_thread(submit))
