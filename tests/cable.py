"""A connection that a test can cut, for clients and workers that must survive it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Cable:
    """A way to a TCP port of this machine whose connections can be cut. Closed by `close`, or ``with``."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Break all connections; new ones break as well, until `mend`."""
        with self._lock:
            self._is_cut = True
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            _close(one)

    def mend(self) -> None:
        """Let new connections through again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        _close(self._listener)
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                near.close()
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # nobody is at the other end (any more)
                near.close()
                return
            self._sockets += near, far
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _close(source)
    _close(sink)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
    one.close()
