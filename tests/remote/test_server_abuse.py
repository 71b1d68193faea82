"""What strangers send: none of it changes the manager, or keeps others from being served."""

from __future__ import annotations

import marshal
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest
from Pyro5 import protocol

from pyrotask.config import Settings
from pyrotask.remote import wire
from pyrotask.remote.connection import PARKED_INPUT_BYTES, Connection
from pyrotask.remote.inbox import SHARED_BYTES
from pyrotask.remote.server import Server
from tests.figures import Figure
from tests.remote.serving import LONG_S, RawClient, connected, parked, plain_proxy, serving
from tests.waiting import until

MIB = 1 << 20
SETTINGS = Settings(max_message_bytes=2 * MIB, handshake_message_bytes=4096, handshake_timeout_s=1.0)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with a waiting task, which has to be as it was at the end."""
    with serving(settings=SETTINGS) as server:
        server.task_manager.addTaskRequest("precious", 1)
        yield server
        assert server.task_manager.numberOfTasks() == ({"precious": 1}, {"precious": 0}, {"precious": 0})
        with plain_proxy(server) as tm:
            assert tm.numberOfActiveProcesses() == 0


def stranger(server: Server) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=LONG_S)


def is_closed(sock: socket.socket) -> bool:
    """Wait for the server to close it."""
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def header(kind: int, size: int, *, flags: int = 0, serializer: int = 1, annotations: int = 0) -> bytes:
    return struct.pack(
        "!4sHBBHHII16sHH", b"PYRO", protocol.PROTOCOL_VERSION, kind, serializer, flags, 1, size, annotations,
        bytes(16), 0, 0x4DC5,
    )  # fmt: skip


def greeting(data: bytes, *, flags: int = 0, serializer: int = 1) -> bytes:
    return header(protocol.MSG_CONNECT, len(data), flags=flags, serializer=serializer) + data


BEFORE_THE_HANDSHAKE: dict[str, Callable[[], bytes]] = {
    "another protocol": lambda: b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "nothing at all": lambda: b"",
    "half a header": lambda: header(1, 10)[:20],
    "half a message": lambda: header(1, 1000) + b"x" * 10,
    "a huge size": lambda: header(1, 0xFFFFFFFF),
    "huge annotations": lambda: header(1, 10, annotations=0xFFFFFFFF),
    "a call instead of a handshake": lambda: header(4, 4) + b"call",
    "an answer instead of a handshake": lambda: header(5, 4) + b"call",
    "a compressed bomb": lambda: greeting(zlib.compress(bytes(2 * MIB)), flags=protocol.FLAGS_COMPRESSED),
    "marshal": lambda: greeting(
        marshal.dumps({"handshake": "hello", "object": "TaskManager.test"}), serializer=2
    ),
    "an unknown serializer": lambda: header(1, 4, serializer=77) + b"data",
    "no dict": lambda: header(1, 3) + b"'x'",
    "nested too deeply": lambda: header(1, 4000) + b"(" * 4000,
    "many signs": lambda: header(1, 4000) + b"-" * 3999 + b"1",
    "a proxy to somewhere": lambda: greeting(
        b"{'__class__':'Pyro5.client.Proxy','state':('PYRO:x@127.0.0.1:9',(),(),(),'hello',None)}"
    ),
}


WAITED_FOR = ("nothing at all", "half a header", "huge annotations")
"""Of those that are turned away only when their time is over, two are enough for the fast tests."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in WAITED_FOR else [])
        for name in BEFORE_THE_HANDSHAKE
    ],
)
def test_a_stranger_is_turned_away(server: Server, name: str) -> None:
    with stranger(server) as sock, plain_proxy(server) as other:
        sock.sendall(BEFORE_THE_HANDSHAKE[name]())
        assert other.numberOfActiveProcesses() == 0
        assert is_closed(sock)
    until(lambda: connected(server) == 0)


@pytest.mark.parametrize(
    ("flags", "serializer", "reason"),
    [
        (protocol.FLAGS_COMPRESSED, 1, "compressed"),
        (protocol.FLAGS_KEEPSERIALIZED, 1, "SerializedBlob"),
        (0, 2, "marshal"),
        (0, 77, "no serializer 77"),
    ],
)
def test_a_refused_call_is_answered_and_the_next_one_done(
    server: Server, flags: int, serializer: int, reason: str
) -> None:
    with RawClient(server) as client:
        data = marshal.dumps("data")
        client.sock.sendall(header(4, len(data), flags=flags, serializer=serializer) + data)
        error = client.receive()[1]
        assert isinstance(error, ValueError) or "ValueError" in str(error)
        assert reason in str(error)
        assert client.answer("numberOfActiveProcesses") == 0


def test_too_large_a_call_is_answered_and_the_next_one_done(server: Server) -> None:
    with RawClient(server) as client:
        client.sock.sendall(header(4, 3 * MIB) + bytes(3 * MIB))
        assert "too large" in str(client.receive()[1])
        assert client.answer("numberOfActiveProcesses") == 0


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"nonsense(", b"[1, 2]", b"('TaskManager.test', 5, (), {})", b"-" * 100_000 + b"1"],
)
def test_what_is_no_call_is_answered(server: Server, data: bytes) -> None:
    with RawClient(server) as client:
        client.send(protocol.MSG_INVOKE, data)
        assert isinstance(client.receive()[1], ValueError)
        assert client.answer("numberOfActiveProcesses") == 0


def test_damaged_annotations_are_answered(server: Server) -> None:
    with RawClient(server) as client:
        data = client.serializer.dumpsCall(client.object_id, "terminate", (), {})
        client.sock.sendall(header(4, len(data), annotations=9) + b"ABCD\xff\xff\xff\xffx" + data)
        assert "annotations" in str(client.receive()[1])
        assert client.answer("numberOfActiveProcesses") == 0


def test_others_are_served_while_many_annotations_are_looked_at(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks, may_go_on = wire.check_annotations, threading.Event(), threading.Event()

    def look_slowly(message: wire.Message) -> None:
        looks.set()
        assert may_go_on.wait(LONG_S)
        look(message)

    monkeypatch.setattr(wire, "check_annotations", look_slowly)
    with RawClient(server) as client, RawClient(server) as other:
        data = client.serializer.dumpsCall(client.object_id, "numberOfActiveProcesses", (), {})
        client.sock.sendall(header(4, len(data), annotations=MIB) + MIB // 8 * b"NONE\0\0\0\0" + data)
        assert looks.wait(LONG_S)
        assert other.answer("numberOfActiveProcesses") == 0
        may_go_on.set()
        assert client.receive()[1] == 0


def test_arguments_that_are_damaged_exceptions_are_harmless(server: Server) -> None:
    with RawClient(server) as client:
        for text in (
            "{'__class__':'builtins.SystemExit','__exception__':True,'args':(),'attributes':{'__class__':1}}",
            "{'__class__':'UnicodeDecodeError','__exception__':True,'args':(1,)}",
            "{'__class__':5,'__exception__':True}",
        ):
            client.send(4, f"('{client.object_id}','storeException',('t_0',{text},'tb'),{{}})".encode())
            assert isinstance(client.receive()[1], Exception)
        assert client.answer("numberOfActiveProcesses") == 0


@pytest.mark.parametrize("kept", [0, 20, 60, 100_000])
def test_a_message_that_is_broken_off_does_nothing(server: Server, kept: int) -> None:
    client = RawClient(server)
    data = client.serializer.dumpsCall(client.object_id, "addTaskRequest", ("t", "x" * 200_000), {})
    client.sock.sendall(client.message(4, data)[:kept])
    client.close()
    until(lambda: connected(server) == 0)


def test_who_floods_while_it_waits_is_dropped(server: Server) -> None:
    with RawClient(server) as client:
        client.call("getTaskWithTag", "none")
        until(lambda: parked(server) == 1)
        message = client.message(6, b"x" * 1000)
        try:
            for _ in range(10 * PARKED_INPUT_BYTES // len(message)):
                client.sock.sendall(message)
        except OSError:
            pass
        assert is_closed(client.sock)
    until(lambda: parked(server) == 0)


def test_who_floods_with_tiny_messages_while_it_waits_is_dropped(server: Server) -> None:
    with RawClient(server) as client:
        client.call("getTaskWithTag", "none")
        until(lambda: parked(server) == 1)
        try:
            for _ in range(100):
                client.sock.sendall(header(6, 0) * 100)
        except OSError:
            pass
        assert is_closed(client.sock)


def test_who_does_not_read_its_answers_costs_bounded_memory(server: Server, figure: Figure) -> None:
    server.task_manager.storeData(large="x" * MIB)
    with RawClient(server) as greedy, plain_proxy(server) as other:
        data = greedy.serializer.dumpsCall(greedy.object_id, "retrieveData", ("large",), {})
        greedy.sock.setblocking(False)
        message, sent = greedy.message(4, data) * 100, 0
        try:
            for _ in range(1000):
                sent += greedy.sock.send(message[sent % len(message) :])
                assert other.numberOfActiveProcesses() == 0
        except BlockingIOError:
            pass
        until(lambda: clogged_of(server))  # the server may have read little of it by now
        (connection,) = clogged_of(server)
        held = connection._transport.get_write_buffer_size()
        waiting = len(connection._waiting)
        figure(f"{sent} bytes of calls were sent; {held} bytes of answers and {waiting} calls are held")
        assert held < 10 * MIB
        assert waiting * len(data) < 2 * SHARED_BYTES
    server.task_manager.deleteData("large")


def clogged_of(server: Server) -> list[Connection]:
    assert server._hub is not None
    return [connection for connection in server._hub._connections if connection._clogged]


def test_a_flood_of_connections_leaves_room_for_those_inside() -> None:
    with (
        serving(settings=Settings(max_connections=1, handshake_timeout_s=1.0)) as server,
        plain_proxy(server) as tm,
    ):
        assert tm.numberOfActiveProcesses() == 0
        crowd = [stranger(server) for _ in range(400)]
        assert tm.numberOfActiveProcesses() == 0
        for sock in crowd:
            assert is_closed(sock)
            sock.close()
