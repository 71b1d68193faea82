"""What the tests of the server share: servers, and clients that can be told to misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self, cast

from Pyro5 import protocol
from Pyro5.api import Proxy
from Pyro5.serializers import serializers, serializers_by_id
from Pyro5.socketutil import SocketConnection

from pyrotask.config import Settings
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager

LONG_S = 60
"""Longer than anything takes that does not hang."""


@contextmanager
def serving(label: str = "test", **options: Any) -> Iterator[Server]:
    """A server that nobody else finds, for the time of the block."""
    chosen: dict[str, Any] = {"name_server": "off", "connection_file": False} | options
    with (
        TaskManager(chosen.get("settings") or Settings()) as task_manager,
        Server(task_manager, label, **chosen) as server,
    ):
        yield server


@contextmanager
def plain_proxy(server: Server, serializer: str = "serpent", handshake: object = "hello") -> Iterator[Any]:
    """A stock Pyro proxy of the task manager."""
    with Proxy(server.uri) as proxy:
        proxy._pyroSerializer = serializer
        proxy._pyroHandshake = handshake
        yield proxy


class Where(Protocol):
    """What a client has to know of a server."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def uri(self) -> str: ...


class RawClient:
    """A Pyro client that sends whatever it is told to, and does not wait for answers."""

    def __init__(self, server: Where, serializer: str = "serpent", *, silent: bool = False) -> None:
        self.object_id = server.uri.removeprefix("PYRO:").partition("@")[0]
        self.serializer = serializers[serializer]
        self.sock = socket.create_connection((server.host, server.port), timeout=LONG_S)
        self.connection = SocketConnection(self.sock)
        if not silent:
            self.greet("hello")
            kind, _ = self.receive()
            assert kind == protocol.MSG_CONNECTOK

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def greet(self, handshake: object, object_id: str | None = None) -> None:
        """Send Pyro's handshake."""
        said = {"handshake": handshake, "object": object_id or self.object_id}
        self.send(protocol.MSG_CONNECT, self.serializer.dumps(said))

    def call(self, method: str, *args: Any, flags: int = 0, object_id: str | None = None) -> None:
        """Send a call."""
        data = self.serializer.dumpsCall(object_id or self.object_id, method, args, {})
        self.send(protocol.MSG_INVOKE, data, flags=flags)

    def send(self, kind: int, data: bytes, flags: int = 0, serializer_id: int | None = None) -> None:
        """Send any message."""
        self.sock.sendall(self.message(kind, data, flags, serializer_id))

    def message(self, kind: int, data: bytes, flags: int = 0, serializer_id: int | None = None) -> bytes:
        """The bytes of a message."""
        number = self.serializer.serializer_id if serializer_id is None else serializer_id
        return bytes(protocol.SendingMessage(kind, flags, 7, number, data).data)

    def receive(self) -> tuple[int, Any]:
        """Wait for a message; return its kind and value (an exception, if it is one)."""
        answer = protocol.recv_stub(self.connection)
        if answer.type == protocol.MSG_PING:
            return answer.type, bytes(answer.data)
        return answer.type, serializers_by_id[answer.serializer_id].loads(answer.data)

    def answer(self, method: str, *args: Any) -> Any:
        """Send a call and wait for its answer."""
        self.call(method, *args)
        return self.receive()[1]

    def is_closed_by_server(self) -> bool:
        """Wait until nothing more comes, and tell whether that is the end of the connection."""
        try:
            return not self.sock.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the connection, without a word."""
        self.connection.close()


def in_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """Run ``call`` in a thread; return a function that waits for what it returns or raises."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(call())
        except Exception as error:  # noqa: BLE001 - it is handed over
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def outcome() -> Any:
        thread.join(LONG_S)
        assert not thread.is_alive()
        return result[0]

    return outcome


def parked(server: Server) -> int:
    """How many requests wait in the engine."""
    engine = server.task_manager.broker.engine
    return cast("int", engine.execute(lambda m, _: len(m.task_wants) + len(m.result_wants)).reply)


def connected(server: Server) -> int:
    """How many connections the engine knows."""
    engine = server.task_manager.broker.engine
    return cast("int", engine.execute(lambda m, _: len(m.presence.connections)).reply)
