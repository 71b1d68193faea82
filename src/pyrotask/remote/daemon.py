"""Pyro's own daemon on our event loop: for the objects that users register beside ours.

The loop hands a call for such an object, or for the daemon's own (metadata, item streams), to
Pyro's `Daemon.handleRequest`, in a thread of its own and over a connection that is made of the
one message. So everything about those objects is as Pyro documents it, and a method that
blocks holds up nobody but its callers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import Pyro5.core
import Pyro5.server
from Pyro5.errors import ConnectionClosedError
from Pyro5.socketutil import SocketConnection

from pyrotask.remote.errands import Errands
from pyrotask.remote.services import Service
from pyrotask.remote.wire import Message, as_sent

if TYPE_CHECKING:
    from pyrotask.remote.hub import Hub

log = logging.getLogger(__name__)

USERS_THREADS = 16
"""Calls of users' objects that are done at a time: more wait, and the broker does not."""

STREAMS_EVERY_S = 5.0
"""How often Pyro's item streams are looked at for some that nobody reads any more."""


class Client(Protocol):
    """The connection that a call came in over; its methods are for the loop's thread."""

    hub: Hub

    @property
    def is_open(self) -> bool:
        """Whether its socket is still its own. From any thread."""

    def send(self, data: bytes) -> None:
        """Send a message."""

    def end(self) -> None:
        """Close the connection."""


class PyroConnection(SocketConnection):  # type: ignore[misc] # Pyro5 has no types
    """What Pyro's code takes for its connection to the client."""

    def __init__(self, sock: Any, client: Client) -> None:
        super().__init__(SocketView(sock, client))
        self._client = client
        self._incoming = b""
        self._at = 0

    def feed(self, message: Message) -> None:
        """This is what `recv` will return next."""
        self._incoming, self._at = as_sent(message), 0

    def recv(self, size: int) -> bytes:
        """The next bytes of the message."""
        data = self._incoming[self._at : self._at + size]
        if len(data) < size:
            raise ConnectionClosedError("receiving: not enough data")
        self._at += size
        if self._at == len(self._incoming):
            self._incoming, self._at = b"", 0
        return data

    def send(self, data: bytes) -> None:
        """Have the loop send it."""
        self._client.hub.post(self._client.send, bytes(data))

    def break_off(self) -> None:
        """Have the loop close the connection."""
        self._client.hub.post(self._client.end)

    def close(self) -> None:
        """Release what users' objects keep for this connection. Its socket is the loop's."""
        self.pyroInstances: dict[type, Any] = {}
        for resource in list(self.tracked_resources):
            try:
                resource.close()
            except Exception:
                log.exception("a resource of a closed connection could not be closed")
        self.tracked_resources.clear()


class SocketView:
    """The loop's socket, to be looked at by others."""

    def __init__(self, sock: Any, client: Client) -> None:
        self._sock = sock
        self._client = client
        self.family = sock.family

    def fileno(self) -> int:
        """Its descriptor, -1 when it is closed."""
        return int(self._sock.fileno()) if self._client.is_open else -1

    def getpeername(self) -> Any:
        """Who is at the other end."""
        return self._sock.getpeername()

    def getsockname(self) -> Any:
        """Who is at this end."""
        return self._sock.getsockname()

    def recv(self, size: int, flags: int) -> bytes:
        """Peek: see what can be read, and take nothing."""
        with socket.socket(fileno=os.dup(self.fileno())) as twin:
            return twin.recv(size, flags | socket.MSG_PEEK)


@Pyro5.server.expose
class DaemonObject(Pyro5.server.DaemonObject):  # type: ignore[misc]
    """The daemon as a Pyro object: it also knows the services that the loop serves by itself."""

    def get_metadata(self, objectId: str) -> dict[str, Any]:  # noqa: N803 - Pyro's name
        """What a proxy wants to know of an object."""
        service = self.daemon.services.get(objectId)
        if service is not None:
            return dict(service.metadata)
        found: dict[str, Any] = super().get_metadata(objectId)
        return found


class PyroDaemon(Pyro5.server.Daemon):  # type: ignore[misc]
    """The daemon of a `Server`. Objects may be registered in it at any time, from any thread.

    Args:
        loop: what runs it.
        listener: the listening socket.
        location: ``host:port``, as it stands in URIs.
        services: what the loop serves by itself.
        stop: stops the server; for those who know the daemon only.
    """

    def __init__(
        self,
        hub: Hub,
        listener: socket.socket,
        location: str,
        services: Mapping[str, Service],
        stop: Callable[[], None],
    ) -> None:
        self.services = services
        # Pyro has no way to be given a transport, but one to be given a connection.
        super().__init__(connected_socket=_Listening(listener), interface=DaemonObject)
        self.transportServer = _Transport(listener, location, stop)
        self.locationStr = location
        self.port: int = listener.getsockname()[1]
        self._hub = hub
        self._users = Errands("pyrotask-objects", USERS_THREADS)
        self._housekeeper: asyncio.TimerHandle | None = None

    def metadata(self, object_id: object) -> dict[str, Any]:
        """What a proxy wants to know of an object. Raises DaemonError if there is none."""
        found: dict[str, Any] = self.objectsById[Pyro5.core.DAEMON_NAME].get_metadata(object_id)
        return found

    def serve(self, connection: PyroConnection, message: Message, then: Callable[[], None]) -> None:
        """Have a call done by Pyro's code in a thread, and ``then`` called in the loop."""

        def work() -> None:
            connection.feed(message)
            try:
                self.handleRequest(connection)
            except BaseException as error:  # noqa: BLE001 - Pyro has told the client what it could
                log.info("the connection of %s is closed: %r", connection, error)
                connection.break_off()
            finally:
                self._hub.post(self._served, then)

        if not self._users.run(work):  # the loop cannot do it: it could block
            connection.break_off()
            self._hub.post(then)

    def closed(self, connection: PyroConnection) -> None:
        """The client is gone: its streams and instances go too."""

        def work() -> None:
            self._clientDisconnect(connection)
            connection.close()

        self._users.run(work)

    def close(self) -> None:
        """Stop the server. Idempotent."""
        super().close()
        self._users.stop()

    def _served(self, then: Callable[[], None]) -> None:
        if self.streaming_responses and self._housekeeper is None:
            self._housekeeper = self._hub.loop.call_later(STREAMS_EVERY_S, self._keep_house)
        then()

    def _keep_house(self) -> None:
        self._housekeeper = None
        self._users.run(self._housekeeping)
        if self.streaming_responses:
            self._housekeeper = self._hub.loop.call_later(STREAMS_EVERY_S, self._keep_house)


class _Listening:
    """A listening socket in the part of a connected one."""

    def __init__(self, listener: socket.socket) -> None:
        self.family = listener.family
        self._address = listener.getsockname()

    def getpeername(self) -> Any:
        return self._address

    def getsockname(self) -> Any:
        return self._address


class _Transport:
    """What Pyro's daemon takes for its socket server. The work is done by the loop."""

    def __init__(self, listener: socket.socket, location: str, stop: Callable[[], None]) -> None:
        self.sock = listener
        self.sockets = [listener]
        self.locationStr = location
        self._stop = stop
        self._stopped = threading.Event()

    def loop(self, loopCondition: Callable[[], bool] = lambda: True) -> None:  # noqa: N803 - Pyro's name
        """Block until it is over."""
        while loopCondition() and not self._stopped.wait(0.2):
            pass

    def shutdown(self) -> None:
        """Stop the server."""
        self.close()

    def close(self) -> None:
        """Stop the server."""
        self._stopped.set()
        self._stop()
