"""From bytes in pieces of any size to whole messages. No I/O.

Small messages are read into one buffer that all connections of a loop share, so that an idle
connection has none. Once the header of a longer one is known, the rest is received where it
will stay. Its place is set aside at once, which is by far the fastest, as long as little has
been announced that is not there; above that it grows with what has really arrived.
"""

from __future__ import annotations

from pyrotask.remote.wire import HEADER_BYTES, Header, Message, check_beginning, parse_header, refusal

SHARED_BYTES = 256 * 1024
"""The most that is read at once into the shared buffer: what a socket buffer holds."""

AHEAD_BYTES = 256 << 20
"""The most that is set aside for messages that have been announced, by all connections together."""

FIRST_BYTES = 1 << 20
"""How much is set aside for a message above that; then it doubles."""


class Shared:
    """What the inboxes of a loop share: the buffer for who reads at the moment, and a budget."""

    __slots__ = ("ahead_bytes", "view")

    def __init__(self) -> None:
        self.view = memoryview(bytearray(SHARED_BYTES))
        self.ahead_bytes = 0
        """What is set aside at the moment, arrived or not."""

    def set_aside(self, size: int) -> int:
        """Return how much of a message's size may be set aside now: all, or a beginning."""
        if self.ahead_bytes + size > AHEAD_BYTES:
            return 0
        self.ahead_bytes += size
        return size


class Inbox:
    """The incoming half of a connection.

    Take `buffer`, fill it from its beginning, and tell `advance` how far. Not thread-safe.

    Args:
        shared: the buffer of the loop.
        most_bytes: how long a message may be; see `most_bytes`.
    """

    __slots__ = (
        "_body", "_filled", "_header", "_refusal", "_rest", "_set_aside", "_shared", "_to_skip", "most_bytes",
    )  # fmt: skip

    def __init__(self, shared: Shared, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        """How many bytes may follow a header from now on; longer messages are refused."""
        self._shared = shared
        self._rest = b""
        """The beginning of a header."""
        self._header: Header | None = None
        """Of the message that is coming in; its place is `_body`, or it is skipped."""
        self._body: bytearray | None = None
        self._filled = 0
        self._set_aside = 0
        """The part of the shared budget that this message has."""
        self._refusal: str | None = None
        self._to_skip = 0

    @property
    def held_bytes(self) -> int:
        """How much of an incomplete message is held."""
        return self._filled + len(self._rest)

    def buffer(self) -> memoryview:
        """Where the next bytes are to be put. Never empty; good until the next call."""
        if self._body is None:
            return self._shared.view
        if self._filled == len(self._body):
            assert self._header is not None
            longer = min(self._header.size, 2 * self._filled)
            self._body.extend(bytes(longer - self._filled))
        return memoryview(self._body)[self._filled :]

    def advance(self, count: int) -> list[Message]:
        """``count`` bytes have been put into the buffer: return what messages that completes.

        Raises:
            NotPyro: this is no Pyro client. The connection is of no use any more.
        """
        if self._body is None:
            return self._read(self._shared.view[:count])
        assert self._header is not None
        self._filled += count
        if self._filled < self._header.size:
            return []
        return [self._complete(self._body)]

    def _read(self, data: memoryview) -> list[Message]:
        messages: list[Message] = []
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
            if self._to_skip:
                return messages
            messages.append(self._complete(b""))
        if self._rest:
            data = memoryview(self._rest + data)
            self._rest = b""
        at = 0
        while len(data) - at >= HEADER_BYTES:
            header = parse_header(data, at)
            refused = refusal(header, self.most_bytes)
            at += HEADER_BYTES
            end = at + header.size
            if end > len(data):
                self._await_rest(header, refused, data[at:])
                return messages
            messages.append(Message(header, b"" if refused else bytes(data[at:end]), refused))
            at = end
        if at < len(data):
            self._rest = bytes(data[at:])
            check_beginning(self._rest)
        return messages

    def _await_rest(self, header: Header, refused: str | None, beginning: memoryview) -> None:
        self._header, self._refusal = header, refused
        if refused is not None:
            self._to_skip = header.size - len(beginning)
            return
        size = header.size
        self._set_aside = self._shared.set_aside(size)
        self._body = bytearray(self._set_aside or min(size, max(FIRST_BYTES, len(beginning))))
        self._filled = len(beginning)
        self._body[: self._filled] = beginning

    def _complete(self, body: bytes | bytearray) -> Message:
        assert self._header is not None
        message = Message(self._header, body, self._refusal)
        self.discard()
        return message

    def discard(self) -> None:
        """Forget the message that is coming in: it is complete, or its connection is closed."""
        self._shared.ahead_bytes -= self._set_aside
        self._header, self._body, self._filled, self._refusal, self._set_aside = None, None, 0, None, 0
