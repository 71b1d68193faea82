"""An AsyncClient in an event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from pyrotask import AsyncClient
from pyrotask.client import state
from pyrotask.remote.server import Server
from tests.client.serving import PATIENCE_S, HandWorker
from tests.client.test_executor import FunctionWorker, tripled


def run(story: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await story()

    return asyncio.run(within())


@pytest.fixture
def worker(server: Server) -> Iterator[FunctionWorker]:
    with FunctionWorker(server.address) as worker:
        yield worker


def test_a_submit_is_awaited(server: Server, worker: FunctionWorker) -> None:
    async def story() -> None:
        async with AsyncClient(server.address) as client:
            assert await client.submit(tripled, 2) == 6
            assert await client.submit("sqrt", 16.0) == 4.0
            assert await client.submit_with({"priority": 3}, pow, 2, exp=3) == 8

    run(story)


def test_thousands_are_awaited_at_once(server: Server, worker: FunctionWorker) -> None:
    async def story() -> None:
        async with AsyncClient(server.address) as client:
            values = await asyncio.gather(*(client.submit(tripled, number) for number in range(3000)))
        assert values == [3 * number for number in range(3000)]

    run(story)


def test_a_map_gives_results_in_order(server: Server, worker: FunctionWorker) -> None:
    async def story() -> None:
        async with AsyncClient(server.address) as client:
            values = [value async for value in client.map(tripled, range(500), ahead=50)]
        assert values == [3 * number for number in range(500)]

    run(story)


def test_what_raised_is_raised(server: Server, worker: FunctionWorker) -> None:
    async def story() -> None:
        async with AsyncClient(server.address) as client:
            with pytest.raises(ValueError, match="math domain error"):
                await client.submit(math.sqrt, -1.0)

    run(story)


def test_cancelling_who_awaits_cancels_the_call(server: Server, by_hand: HandWorker) -> None:
    async def story() -> None:
        async with AsyncClient(server.address) as client:
            waiting = asyncio.ensure_future(_await(client.submit(tripled, 2)))
            (task,) = await asyncio.to_thread(by_hand.take)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert by_hand.in_vain() == [[task[0], task[2]]]

    run(story)


def test_an_exception_in_the_block_cancels_the_rest(server: Server) -> None:
    futures: list[asyncio.Future[Any]] = []

    async def story() -> None:
        async with AsyncClient(server.address) as client:
            futures.append(client.submit(tripled, 2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(story)
    assert futures[0].cancelled()


def test_without_room_the_loop_does_not_wait(
    server: Server, worker: FunctionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_UNSENT", 1)

    async def story() -> None:
        async with AsyncClient(server.address) as client:
            assert await asyncio.gather(*(client.submit(tripled, number) for number in range(50))) == [
                3 * number for number in range(50)
            ]

    run(story)


def test_it_must_be_connected() -> None:
    with pytest.raises(RuntimeError, match=r"async with.*await client.connect\(\)"):
        AsyncClient("campaign").submit(tripled, 2)


def test_it_is_connected_and_closed_without_a_block(server: Server, worker: FunctionWorker) -> None:
    async def story() -> None:
        client = await AsyncClient(server.address).connect()
        waits = client.submit(tripled, 2)
        assert await client.connect() is client
        await client.close()
        assert waits.done()
        await client.close()
        with pytest.raises(RuntimeError, match="not connected"):
            client.submit(tripled, 2)
        await client.connect()
        assert await client.submit(tripled, 3) == 9
        await client.close()

    run(story)


def test_a_close_that_is_cancelled_cancels_the_rest(server: Server) -> None:
    async def story() -> None:
        client = await AsyncClient(server.address).connect()
        waits = client.submit(tripled, 2)
        closing = asyncio.ensure_future(client.close())
        await asyncio.sleep(0)  # it has begun
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await asyncio.wait([waits])
        assert waits.cancelled()

    run(story)


async def _await(awaited: Awaitable[Any]) -> Any:
    return await awaited
