"""Framing: from bytes to messages, and what is refused before it is stored."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from Pyro5 import protocol

from pyrotask.remote import wire
from pyrotask.remote.inbox import AHEAD_BYTES, FIRST_BYTES, SHARED_BYTES, Inbox, Shared
from pyrotask.remote.wire import Message, NotPyro

MOST = 4 * SHARED_BYTES


def sent(
    data: bytes, *, flags: int = 0, serializer: int = 1, annotations: dict[str, bytes] | None = None
) -> bytes:
    return bytes(protocol.SendingMessage(protocol.MSG_INVOKE, flags, 3, serializer, data, annotations).data)


def header(size: int, *, flags: int = 0, serializer: int = 1) -> bytes:
    return wire.HEADER.pack(
        b"PYRO", protocol.PROTOCOL_VERSION, wire.INVOKE, serializer, flags, 3, size, 0, bytes(16), 0, 0x4DC5
    )


def received(inbox: Inbox, data: bytes, pieces: list[int] | None = None) -> list[Message]:
    """Feed the data in pieces of these sizes, over and over, as a socket would."""
    messages: list[Message] = []
    sizes = pieces or [len(data)]
    at = turn = 0
    while at < len(data):
        buffer = inbox.buffer()
        piece = data[at : at + min(sizes[turn % len(sizes)], len(buffer))]
        buffer[: len(piece)] = piece
        del buffer
        messages += inbox.advance(len(piece))
        at += len(piece)
        turn += 1
    return messages


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(Shared(), MOST)


@given(
    st.lists(st.binary(max_size=300) | st.integers(0, 2 * SHARED_BYTES).map(bytes), max_size=5),
    st.lists(st.integers(1, 500) | st.integers(1, SHARED_BYTES), min_size=1, max_size=5),
)
def test_messages_come_out_whole_however_they_were_cut(bodies: list[bytes], pieces: list[int]) -> None:
    stream = b"".join(sent(body) for body in bodies)
    if len(stream) > 20_000:
        pieces = [max(size, 1000) for size in pieces]
    messages = received(Inbox(Shared(), MOST), stream, pieces)
    assert [bytes(message.body) for message in messages] == bodies
    assert all(message.refusal is None for message in messages)


def test_a_header_is_read_as_pyro_writes_it(inbox: Inbox) -> None:
    (message,) = received(inbox, sent(b"data", flags=wire.ONEWAY, annotations={"ABCD": b"xyz"}))
    assert message.header.kind == wire.INVOKE
    assert message.header.sequence == 3
    assert message.header.is_oneway
    assert bytes(message.data) == b"data"


def test_a_message_goes_to_pyro_as_it_came(inbox: Inbox) -> None:
    original = sent(b"data", annotations={"ABCD": b"xyz"})
    (message,) = received(inbox, original)
    assert wire.as_sent(message) == original


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PYRX"])
def test_who_does_not_speak_pyro_is_known_by_the_first_bytes(inbox: Inbox, beginning: bytes) -> None:
    with pytest.raises(NotPyro):
        received(inbox, beginning)


@pytest.mark.parametrize(("at", "value"), [(4, 501), (38, 0x1234)])
def test_another_version_or_a_damaged_header_is_not_read(inbox: Inbox, at: int, value: int) -> None:
    damaged = bytearray(header(0))
    struct.pack_into("!H", damaged, at, value)
    with pytest.raises(NotPyro):
        received(inbox, bytes(damaged))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (header(MOST + 1), "too large"),
        (header(100, flags=wire.COMPRESSED), "COMPRESSION = False"),
        (header(100, flags=wire.KEEP_SERIALIZED), "SerializedBlob"),
        (header(100, serializer=2), "marshal"),
        (header(100, serializer=99), "no serializer 99"),
    ],
)
def test_a_refused_message_is_skipped_and_the_next_one_taken(inbox: Inbox, head: bytes, reason: str) -> None:
    size = struct.unpack_from("!I", head, 12)[0]
    refused, taken = received(inbox, head + bytes(size) + sent(b"next"), [70_001])
    assert reason in str(refused.refusal)
    assert refused.body == b""
    assert bytes(taken.body) == b"next"


def test_of_a_refused_message_nothing_is_kept(inbox: Inbox) -> None:
    received(inbox, header(MOST + 1) + bytes(MOST))
    assert inbox.held_bytes == 0


def test_an_announced_size_takes_no_memory_before_the_bytes_are_there() -> None:
    inbox = Inbox(Shared(), 1 << 31)
    received(inbox, header(1 << 31) + b"only this")
    assert len(inbox.buffer()) <= FIRST_BYTES
    assert inbox.held_bytes == len(b"only this")


def test_many_announced_sizes_take_no_more_memory_than_one_loop_may_set_aside() -> None:
    shared = Shared()
    inboxes = [Inbox(shared, 1 << 31) for _ in range(40)]
    for inbox in inboxes:
        received(inbox, header(AHEAD_BYTES // 8) + b"only this")
    assert shared.ahead_bytes <= AHEAD_BYTES
    assert sum(len(inbox.buffer()) for inbox in inboxes) <= AHEAD_BYTES + 40 * FIRST_BYTES
    for inbox in inboxes:
        inbox.discard()
    assert shared.ahead_bytes == 0


def test_a_message_above_the_budget_grows_and_comes_out_whole() -> None:
    shared = Shared()
    shared.ahead_bytes = AHEAD_BYTES
    body = bytes(range(256)) * 20_000
    (message,) = received(Inbox(shared, 1 << 31), sent(body))
    assert message.body == body
    assert shared.ahead_bytes == AHEAD_BYTES


@pytest.mark.parametrize("garbage", [b"ABCD\xff\xff\xff\xff", b"ABC", b"ABCD\x00\x00\x00\x02abcdef"])
def test_annotations_that_do_not_add_up_are_refused(garbage: bytes) -> None:
    damaged = wire.Header(wire.INVOKE, 1, 0, 0, 4, len(garbage), bytes(16))
    with pytest.raises(ValueError, match="annotations"):
        wire.check_annotations(Message(damaged, garbage + b"data"))


def test_the_correlation_id_of_a_call_comes_back_with_its_answer() -> None:
    call = wire.Header(wire.INVOKE, 1, wire.CORRELATED, 5, 0, 0, b"0123456789abcdef")
    answer = wire.parse_header(wire.answer_header(wire.RESULT, call, 10))
    assert answer.correlation == call.correlation
    assert answer.sequence == 5
