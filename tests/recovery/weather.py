"""Bad weather between clients and a broker: a TCP proxy whose connections go wrong in all ways.

Each connection has a fate, drawn when it is made. Some are left alone. Others are slow, or end:
reset from both sides, closed in one direction only, or silent, where what is sent disappears
for some seconds before the connection breaks. What was on its way when a connection ended may
or may not arrive, as in a real network.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Self

CHUNK_BYTES = 64 * 1024

FATES = {"fine": 4, "slow": 2, "thin": 1, "reset": 4, "half-closed": 2, "swallowed": 2, "silent": 1}
"""What becomes of connections, and how often."""

LONGEST_LIFE_S = 6.0
"""Until a connection that goes wrong does."""

LONGEST_SILENCE_S = 8.0
"""How long one that swallows what is sent, or is half closed, stays open."""

LONGEST_DELAY_S = 0.2
"""Before a piece of a slow one is passed on."""

THIN_BYTES_PER_S = 100_000


@dataclass(slots=True)
class Way:
    """One direction of a connection."""

    source: asyncio.StreamReader
    sink: asyncio.StreamWriter
    longest_delay_s: float = 0.0
    bytes_per_s: float | None = None
    swallows: bool = False
    """What comes is not passed on."""

    async def carry(self, dice: random.Random) -> None:
        """Pass on what comes, until its end."""
        while data := await self.source.read(CHUNK_BYTES):
            if self.swallows:
                continue
            if self.longest_delay_s:
                await asyncio.sleep(dice.uniform(0, self.longest_delay_s))
            async for piece in self._pieces(data):
                self.sink.write(piece)
                await self.sink.drain()
        if not self.swallows:
            self.sink.write_eof()

    async def _pieces(self, data: bytes) -> AsyncIterator[bytes]:
        if self.bytes_per_s is None:
            yield data
            return
        step = max(1, int(self.bytes_per_s / 20))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            await asyncio.sleep(len(piece) / self.bytes_per_s)
            yield piece


class Weather:
    """Listens at `port`, and passes on to the port that ``to`` says at that moment.

    Args:
        to: the port of the broker; None: there is none.
        dice: what happens to whom.
    """

    def __init__(self, to: Callable[[], int | None], dice: random.Random) -> None:
        self._to = to
        self._dice = dice
        self._is_clear = self._is_over = False
        self._links: set[asyncio.Task[None]] = set()
        self.seen: Counter[str] = Counter()
        """How often there was which fate."""
        self._loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=listener))
        self._thread = threading.Thread(target=self._loop.run_forever, name="weather")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    def clear_up(self) -> None:
        """Break all connections. From now on nothing goes wrong any more."""
        self._is_clear = True
        self._loop.call_soon_threadsafe(self._break_all)

    def _break_all(self) -> None:
        for link in self._links:
            link.cancel()

    async def _end(self) -> None:
        self._server.close()
        self._is_over = True
        while others := asyncio.all_tasks() - {asyncio.current_task()}:  # also who was let in just now
            self._break_all()
            await asyncio.wait(others)
        await asyncio.sleep(0)  # transports close a turn later

    # --- a connection -----------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        try:
            if not self._is_over:
                await self._link(reader, writer)
        except asyncio.CancelledError:
            pass  # everything is broken at once
        finally:
            _reset(writer)
            self._links.discard(link)

    async def _link(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        port = self._to()
        if port is None:
            return
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        ways = (Way(near_in, far_out), Way(far_in, near_out))
        carrying = asyncio.gather(*(way.carry(self._dice) for way in ways))
        suffering = asyncio.create_task(self._suffer(ways))
        try:
            await asyncio.wait((carrying, suffering), return_when=asyncio.FIRST_COMPLETED)
        finally:
            carrying.cancel()
            suffering.cancel()
            await asyncio.gather(carrying, suffering, return_exceptions=True)
            _reset(far_out)

    async def _suffer(self, ways: tuple[Way, Way]) -> None:
        """Let the fate of a connection happen; returns when it breaks."""
        dice = self._dice
        fate = "fine" if self._is_clear else dice.choices([*FATES], [*FATES.values()])[0]
        self.seen[fate] += 1
        one = dice.randrange(2)
        if fate == "slow":
            for way in ways:
                way.longest_delay_s = LONGEST_DELAY_S
        elif fate == "thin":
            ways[one].bytes_per_s = THIN_BYTES_PER_S
        elif fate == "silent":
            for way in ways:
                way.swallows = True
            await asyncio.sleep(dice.uniform(0, 2 * LONGEST_SILENCE_S))
            return
        if fate in {"fine", "slow", "thin"}:
            await asyncio.Event().wait()  # for ever
        await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_S))
        if fate == "half-closed":
            ways[one].sink.write_eof()
        if fate in {"half-closed", "swallowed"}:
            ways[one].swallows = True
        if fate != "reset":
            await asyncio.sleep(dice.uniform(0, LONGEST_SILENCE_S))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, and say so by a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
