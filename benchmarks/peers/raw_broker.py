"""A floor for brokers in Python: frames over bare sockets, and no promise at all.

    python -m benchmarks.peers.raw_broker serve PORT
    python -m benchmarks.peers.raw_broker work PORT CREDIT

A client says who it is in a frame of its own: a master, or a worker that takes so many tasks at
a time (its *credit*). From then on a frame is a task or a result, and carries the number of the
master that it belongs to. One thread, one system call for all that goes to a connection at a time.
"""

from __future__ import annotations

import pickle
import selectors
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterator

from benchmarks import tasks
from benchmarks.stage import connected

HEAD = struct.Struct("!II")  # bytes of the payload; the master's number, or at first: the credit
PIECE = 262_144


class Frames:
    """Cuts what was received into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def cut(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        buffer, at = self._data, 0
        buffer += data
        while len(buffer) - at >= HEAD.size:
            size, number = HEAD.unpack_from(buffer, at)
            end = at + HEAD.size + size
            if len(buffer) < end:
                break
            yield number, bytes(buffer[at + HEAD.size : end])
            at = end
        del buffer[:at]


def frame(number: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(len(payload), number) + payload


class Client:
    """A connection as the broker sees it."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.socket, self.number = connection, number
        self.frames, self.out = Frames(), bytearray()
        self.is_known = False
        self.is_worker = False
        self.is_writing = False


class Broker:
    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._clients: dict[int, Client] = {}
        self._last = 0
        self._tasks: deque[tuple[int, bytes]] = deque()
        self._credits: deque[Client] = deque()
        self._to_write: set[Client] = set()

    def serve(self) -> None:
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    self._accept()
                    continue
                if events & selectors.EVENT_READ:
                    self._read(key.data)
                if events & selectors.EVENT_WRITE:
                    self._to_write.add(key.data)
            while self._tasks and self._credits:
                worker, (master, payload) = self._credits.popleft(), self._tasks.popleft()
                worker.out += frame(master, payload)
                self._to_write.add(worker)
            while self._to_write:
                self._write(self._to_write.pop())

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._last += 1
        client = self._clients[self._last] = Client(connection, self._last)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _read(self, client: Client) -> None:
        try:
            data = client.socket.recv(PIECE)
        except OSError:
            data = b""
        if not data:
            self._clients.pop(client.number)
            self._selector.unregister(client.socket)
            client.socket.close()
            return
        for number, payload in client.frames.cut(data):
            self._take(client, number, payload)

    def _take(self, client: Client, number: int, payload: bytes) -> None:
        if not client.is_known:
            client.is_known, client.is_worker = True, number > 0
            self._credits.extend([client] * number)
        elif client.is_worker:
            self._credits.append(client)
            master = self._clients.get(number)
            if master is not None:
                master.out += frame(0, payload)
                self._to_write.add(master)
        else:
            self._tasks.append((client.number, payload))

    def _write(self, client: Client) -> None:
        if client.number not in self._clients:
            return
        try:
            sent = client.socket.send(client.out)
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        del client.out[:sent]
        if client.is_writing != bool(client.out):
            client.is_writing = bool(client.out)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.is_writing else 0)
            self._selector.modify(client.socket, events, client)


class Speaker:
    """A worker: of a swarm, or alone."""

    def __init__(self, credit: str) -> None:
        self._credit = int(credit)
        self._frames = Frames()

    def first(self) -> bytes:
        return frame(self._credit)

    def is_waiting(self) -> bool:
        return True

    def received(self, data: bytes) -> bytes:
        return b"".join(frame(master, _done(payload)) for master, payload in self._frames.cut(data))


def _done(payload: bytes) -> bytes:
    function, arguments = pickle.loads(payload)
    return pickle.dumps(tasks.FUNCTIONS[function](*arguments), 5)


def work(port: int, credit: str) -> None:
    connection, speaker = connected(port), Speaker(credit)
    connection.sendall(speaker.first())
    while data := connection.recv(PIECE):
        connection.sendall(speaker.received(data))


def main() -> None:
    role, port, *rest = sys.argv[1:]
    if role == "serve":
        Broker(int(port)).serve()
    else:
        work(int(port), *rest)


if __name__ == "__main__":
    main()
