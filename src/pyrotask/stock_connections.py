"""The connections of a stock Pyro daemon, which tells us of their end only, and not of what is on them.

So whether a client that waits is still there is seen by a look at its socket.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pyrotask.broker import Broker
    from pyrotask.core.model import ConnectionId


class StockConnection:
    """A connection of a stock Pyro daemon. Pyro closes it with the connection, as its resource."""

    def __init__(self, broker: Broker, sock: Any) -> None:
        self._broker = broker
        self._sock = sock
        self.is_closed = False
        self.number = cast("ConnectionId", broker.call(lambda m, _: m.connect()))

    def is_there(self) -> bool:
        """Whether the client still is. Looks at the socket, and takes nothing out of it."""
        try:
            return _is_open(self._sock)
        except OSError:
            return False

    def leave_if_late(self) -> None:
        """Close it after a call that came in when the connection had gone."""
        if self._sock.fileno() < 0:
            self.close()

    def close(self) -> None:
        """The connection is closed. Idempotent."""
        self.is_closed = True
        self._broker.call(lambda m, now: m.disconnect(now, self.number))


def _is_open(sock: Any) -> bool:
    if sock.fileno() < 0:
        return False
    if hasattr(select, "poll"):
        gone = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
        look = select.poll()
        look.register(sock, select.POLLIN | gone)
        seen = look.poll(0)
        if not seen or seen[0][1] & gone:
            return not seen
    elif not select.select([sock], [], [], 0)[0]:
        return True
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except ValueError:  # TLS cannot peek
        return True
