"""A worker of a swarm that speaks Pyro: what a blocking proxy would say, without a thread for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from Pyro5 import protocol
from Pyro5.serializers import serializers

HEADER_BYTES = 40


class PyroSpeaker(ABC):
    """Connects to a Pyro object, and calls its methods one after the other.

    Args:
        object_id: the object's name in its daemon.
        serializer: Pyro's name of it.
    """

    def __init__(self, object_id: str, serializer: str) -> None:
        self._object_id = object_id
        self._serializer = serializers[serializer]
        self._heard = bytearray()

    def first(self) -> bytes:
        hello = {"handshake": "hello", "object": self._object_id}
        return self._message(protocol.MSG_CONNECT, self._serializer.dumps(hello))

    def received(self, data: bytes) -> bytes:
        self._heard += data
        said = b""
        while (message := self._cut()) is not None:
            value = self._serializer.loads(message.data) if message.data else None
            if message.type == protocol.MSG_CONNECTFAIL or message.flags & protocol.FLAGS_EXCEPTION:
                raise RuntimeError(f"the broker refuses: {value!r}")
            is_answer = message.type == protocol.MSG_RESULT
            said += self._call(*(self.answered(value) if is_answer else self.connected()))
        return said

    @abstractmethod
    def connected(self) -> tuple[str, tuple[Any, ...]]:
        """The first call: a method and its arguments."""

    @abstractmethod
    def answered(self, value: Any) -> tuple[str, tuple[Any, ...]]:
        """The next call, after the last one's answer."""

    def _call(self, method: str, arguments: tuple[Any, ...]) -> bytes:
        data = self._serializer.dumpsCall(self._object_id, method, arguments, {})
        return self._message(protocol.MSG_INVOKE, data)

    def _message(self, kind: int, data: bytes) -> bytes:
        return bytes(protocol.SendingMessage(kind, 0, 0, self._serializer.serializer_id, data).data)

    def _cut(self) -> Any:
        heard = self._heard
        if len(heard) < HEADER_BYTES:
            return None
        sizes = int.from_bytes(heard[12:16], "big"), int.from_bytes(heard[16:20], "big")
        size = HEADER_BYTES + sum(sizes)
        if len(heard) < size:
            return None
        message = protocol.ReceivingMessage(bytes(heard[:HEADER_BYTES]), bytes(heard[HEADER_BYTES:size]))
        del heard[:size]
        return message
