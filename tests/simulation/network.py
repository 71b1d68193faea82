"""The network between clients and the broker: slow, and it breaks.

A message travels for some time; on one connection they keep their order. A connection breaks
when a message is sent: that message, or its reply, may be lost or still arrive, and each side
notices at an instant of its own. So a client that sends its call again over a new connection may
overtake its older self, and the broker may answer into nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyrotask.core.model import SECOND, Nanoseconds
from tests.simulation.loop import Loop, Resume, Wait

if TYPE_CHECKING:
    from tests.simulation.broker import Broker, Connection


class Network:
    """All connections, and how bad the weather is."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.breaks = loop.random.choice((0.0, 0.01, 0.03, 0.1))
        """How often a message finds its connection broken."""
        self.slowest_s = loop.random.choice((0.002, 0.05, 0.3))
        self.broker: Broker | None = None
        self.links: dict[Link, None] = {}
        self.broken = 0
        """How many connections broke."""

    def connect(self) -> Wait:
        """Wait for a `Link` to the broker. `ConnectionError`: there is none."""

        def begin(resume: Resume) -> None:
            self.loop.after(self.delay_s(), partial(self._connected, resume))

        return begin

    def _connected(self, resume: Resume) -> None:
        if self.broker is None:
            resume(None, ConnectionRefusedError("nobody listens"))
        else:
            resume(Link(self, self.broker.accept()), None)

    def delay_s(self) -> float:
        """How long a message takes."""
        return self.loop.between(0.0001, self.slowest_s)

    def lose_broker(self) -> None:
        """The broker is gone; its system closes the connections."""
        self.broker = None
        for link in list(self.links):
            link.end(broker_in_s=0.0, client_in_s=self.loop.between(0.0, 0.2))


class Link:
    """A connection, as its client has it. One call at a time."""

    def __init__(self, network: Network, far_end: Connection) -> None:
        self._network = network
        self._loop = network.loop
        self._far_end = far_end
        self._resume: Resume | None = None
        self._request_at: Nanoseconds = 0
        self._reply_at: Nanoseconds = 0
        self._is_down = False
        """Nothing gets through to the client any more."""
        self._is_over = False
        """The client knows."""
        network.links[self] = None

    def call(self, name: str, *args: Any, **kwargs: Any) -> Wait:
        """Wait for the reply to a bulk call."""
        return partial(self._begin, "bulk", name, args, kwargs)

    def plain(self, name: str, *args: Any, **kwargs: Any) -> Wait:
        """Wait for the reply to a call of the reference API."""
        return partial(self._begin, "plain", name, args, kwargs)

    def close(self) -> None:
        """The client closes it, or is gone."""
        self._is_over = True
        self._resume = None
        self.end(broker_in_s=self._loop.between(0.0, 0.1), client_in_s=0.0)

    def end(self, *, broker_in_s: float, client_in_s: float) -> None:
        """Break it. The sides notice later."""
        if not self._is_down:
            self._is_down = True
            self._network.links.pop(self, None)
            self._network.broken += 1
            self._loop.after(broker_in_s, self._far_end.close)
            self._loop.after(client_in_s, self._notice)

    def _notice(self) -> None:
        self._is_over = True
        resume, self._resume = self._resume, None
        if resume is not None:
            resume(None, ConnectionResetError("the connection broke"))

    def _begin(
        self, service: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], resume: Resume
    ) -> None:
        if self._is_over:
            resume(None, ConnectionResetError("the connection is broken"))
            return
        self._resume = resume
        loop = self._loop
        if loop.chance(self._network.breaks):
            self.end(broker_in_s=loop.between(0.0, 1.5), client_in_s=loop.between(0.0, 1.5))
            if loop.chance(0.5):
                return  # the request is lost
        self._request_at = max(self._request_at, loop.now + int(self._network.delay_s() * SECOND))
        loop.at(
            self._request_at,
            partial(self._far_end.receive, service, name, args, kwargs, partial(self._send_back, resume)),
        )

    def _send_back(self, resume: Resume, value: Any, error: Exception | None) -> None:
        loop = self._loop
        if not self._is_down and loop.chance(self._network.breaks):
            self.end(broker_in_s=loop.between(0.0, 1.5), client_in_s=loop.between(0.0, 1.5))
        if self._is_down:
            return
        self._reply_at = max(self._reply_at, loop.now + int(self._network.delay_s() * SECOND))
        loop.at(self._reply_at, partial(self._arrive, resume, value, error))

    def _arrive(self, resume: Resume, value: Any, error: Exception | None) -> None:
        if self._resume is resume and not self._is_down:
            self._resume = None
            resume(value, error)
