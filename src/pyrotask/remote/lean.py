"""Calls over a connection that Pyro has opened, without Pyro's own machinery for each of them.

The messages are the same (see `remote.wire`), with msgpack; what is left out costs several times
what is left. And calls can be sent together, before the reply to the first has come: the broker
does them in order.

Replies are plain values. Only an exception makes objects, as Pyro does it.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import Pyro5.errors
from Pyro5.serializers import serializers

from pyrotask.arena import Reader, StaleReference, Vanished
from pyrotask.remote import wire
from pyrotask.remote.blocks_on_wire import pack_call, unpack
from pyrotask.wire_errors import from_builtin

READ_BYTES = 64 * 1024
"""How much is read at once, where it is not known yet how much there is."""

_PYRO = serializers["msgpack"]


class LeanConnection:
    """See the module's text. Not thread-safe.

    It is of no use any more after any exception but one that the call itself has raised.

    Args:
        sock: connected and greeted; it still belongs to whoever has opened it.
        object_id: whose methods are called.
    """

    def __init__(self, sock: socket.socket, object_id: str) -> None:
        self._sock = sock
        self._object_id = object_id
        self._sequence = 0
        self._unanswered: deque[int] = deque()
        self._timeout_s = sock.gettimeout()
        self._rest = b""
        """What was read of messages that nobody has asked for yet."""
        self.reader: Reader | None = None
        """How to read what the broker refers to; None: it refers to nothing."""
        self.shared: bytes | None = None
        """The identity of our own segment that the broker has open. See `pack_call`."""
        self.most_bytes = wire.LONGEST
        """How many bytes of blocks may go as bytes."""

    def send(self, *calls: tuple[str, tuple[Any, ...]]) -> None:
        """Send calls, each a method and its arguments, without waiting for a reply.

        Blocks while the system takes no more.

        Raises:
            Pyro5.errors.CommunicationError: the connection is broken.
            TypeError: an argument cannot travel; nothing was sent.
            ValueError: it is too much at a time; likewise.
        """
        self._send(calls, self.shared)

    def _send(self, calls: Sequence[tuple[str, tuple[Any, ...]]], shared: bytes | None) -> None:
        parts: list[bytes] = []
        sequence = self._sequence
        for method, args in calls:
            call = (self._object_id, method, args, None)
            data = _packed(call, shared, self.most_bytes)
            sequence = (sequence + 1) & 0xFFFF
            parts += (wire.call_header(_PYRO.serializer_id, sequence, len(data)), data)
        while self._sequence != sequence:  # only now, since an argument may be no good
            self._sequence = (self._sequence + 1) & 0xFFFF
            self._unanswered.append(self._sequence)
        try:
            self._sock.sendall(b"".join(parts))
        except TimeoutError as error:
            raise Pyro5.errors.TimeoutError("sending: it takes too long") from error
        except OSError as error:
            raise Pyro5.errors.ConnectionClosedError(f"sending: {error}") from error

    def receive(self, timeout_s: float | None) -> Any:
        """The reply to the oldest call that has none yet.

        Raises:
            Pyro5.errors.CommunicationError: the connection is broken, or nothing came in time.
            Exception: whatever the call has raised.
        """
        if timeout_s != self._timeout_s:
            self._sock.settimeout(timeout_s)
            self._timeout_s = timeout_s
        try:
            header, body = self._read_message()
        except TimeoutError as error:
            raise Pyro5.errors.TimeoutError("receiving: nothing came in time") from error
        except (OSError, wire.NotPyro) as error:
            raise Pyro5.errors.ConnectionClosedError(f"receiving: {error}") from error
        if header.sequence != self._unanswered.popleft():
            raise Pyro5.errors.ProtocolError("the replies are out of order")
        data = memoryview(body)[header.annotations_bytes :]
        if header.flags & wire.EXCEPTION:
            raised = _PYRO.loads(data)
            ours = from_builtin(raised)
            ours.__dict__["_pyroTraceback"] = getattr(raised, "_pyroTraceback", None)
            raise ours
        try:
            return unpack(data, self.reader)
        except Vanished as error:  # whoever asks again gets what there is now
            raise Pyro5.errors.ConnectionClosedError(f"receiving: {error}") from error

    @property
    def is_idle(self) -> bool:
        """Whether all replies have come."""
        return not self._unanswered

    def call(self, method: str, args: tuple[Any, ...], timeout_s: float | None) -> Any:
        """Send a call, and wait for its reply. Raises as `send` and `receive` do.

        What the broker cannot open, for want of descriptors, say, is sent once more, as bytes.
        """
        if self._unanswered:
            raise Pyro5.errors.ProtocolError("a call was interrupted, so its reply is still to come")
        self.send((method, args))
        try:
            return self.receive(timeout_s)
        except ValueError as error:  # a call that is refused has changed nothing
            if not _is_of_stale_reference(error):
                raise
        self._send([(method, args)], None)
        return self.receive(timeout_s)

    def _read_message(self) -> tuple[wire.Header, bytes | memoryview]:
        data = self._rest or self._read_some()
        while len(data) < wire.HEADER_BYTES:
            data += self._read_some()
        header = wire.parse_header(data)
        end = wire.HEADER_BYTES + header.size
        if len(data) >= end:
            self._rest = data[end:]
            return header, data[wire.HEADER_BYTES : end]
        self._rest = b""
        return header, self._read_rest(header.size, data[wire.HEADER_BYTES :])

    def _read_rest(self, size: int, beginning: bytes) -> memoryview:
        body = bytearray(size)
        body[: len(beginning)] = beginning
        view, filled = memoryview(body), len(beginning)
        while filled < size:
            count = self._sock.recv_into(view[filled:])
            if not count:
                raise ConnectionResetError("the broker has closed the connection")
            filled += count
        return view

    def _read_some(self) -> bytes:
        data = self._sock.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the broker has closed the connection")
        return data


def _is_of_stale_reference(error: ValueError) -> bool:
    return getattr(error, "remote_type", None) == StaleReference.__name__


def _packed(call: tuple[Any, ...], shared: bytes | None, most_bytes: int) -> bytes:
    try:
        return pack_call(call, shared, most_bytes)
    except Pyro5.errors.SerializeError as error:  # to Pyro it is trouble of the connection
        raise TypeError(f"an argument cannot travel: {error}") from error
