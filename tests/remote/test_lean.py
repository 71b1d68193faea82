"""Calls without Pyro's machinery: the same messages, and several on their way at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import pairwise

import msgpack
import Pyro5.errors
import pytest

from pyrotask.errors import ConnectError, UnknownLabel
from pyrotask.remote import wire
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.lean import LeanConnection
from tests.remote.serving import serving


@pytest.fixture
def broker() -> Iterator[BulkProxy]:
    with serving("lean") as server, BulkProxy(server.address) as broker:
        yield broker


class Other:
    """The other side of a connection, which says what the test wants."""

    def __init__(self) -> None:
        ours, self.sock = socket.socketpair()
        self.connection = LeanConnection(ours, "Some.Object")
        self._ours = ours

    def take_call(self) -> wire.Header:
        data = self.sock.recv(1 << 16)
        return wire.parse_header(data)

    def answer(self, to: wire.Header, value: object) -> bytes:
        data: bytes = msgpack.packb(value)
        return wire.answer_header(wire.RESULT, to, len(data)) + data

    def close(self) -> None:
        self.sock.close()
        self._ours.close()


@pytest.fixture
def other() -> Iterator[Other]:
    other = Other()
    yield other
    other.close()


def test_a_call_returns_its_value(broker: BulkProxy) -> None:
    assert broker.call("hello")["label"] == "lean"


def test_calls_that_are_sent_together_are_done_in_their_order(broker: BulkProxy) -> None:
    value = ["plain", [b"\x09"]]
    broker.send(("store_data", ({"x": value},)), ("retrieve_data", ("x",)), ("delete_data", ("x",)))
    replies = [broker.receive("one of three", 30.0) for _ in range(3)]
    assert replies == [None, value, None]


def test_large_values_go_both_ways(broker: BulkProxy) -> None:
    value = ["pickle", [bytes(3_000_000), b"x" * 70_000]]
    broker.call("store_data", {"x": value})
    assert broker.call("retrieve_data", "x") == value


def test_what_a_call_raises_is_of_our_own_kind_and_the_connection_lives_on(broker: BulkProxy) -> None:
    with pytest.raises(UnknownLabel):
        broker.call("retrieve_data", "nothing")
    assert broker.call("hello")["label"] == "lean"


def test_an_error_of_one_call_leaves_the_replies_to_the_others(broker: BulkProxy) -> None:
    broker.send(("retrieve_data", ("nothing",)), ("hello", ()))
    with pytest.raises(UnknownLabel):
        broker.receive("retrieve_data", 30.0)
    assert broker.receive("hello", 30.0)["label"] == "lean"


def test_a_closed_proxy_says_so(broker: BulkProxy) -> None:
    broker.close()
    with pytest.raises(ConnectError, match="reconnect"):
        broker.send(("hello", ()))


def test_a_reply_may_come_in_pieces_and_with_the_next_one(other: Other) -> None:
    got: list[object] = []
    other.connection.send(("one", ()), ("two", ()))
    calls = other.sock.recv(1 << 16)
    first = wire.parse_header(calls)
    second = wire.parse_header(calls, wire.HEADER_BYTES + first.size)
    replies = other.answer(first, "a" * 100) + other.answer(second, "b")

    def say() -> None:
        for start, end in pairwise([0, 10, wire.HEADER_BYTES, wire.HEADER_BYTES + 50, len(replies)]):
            other.sock.sendall(replies[start:end])

    speaker = threading.Thread(target=say)
    speaker.start()
    got += [other.connection.receive(30.0), other.connection.receive(30.0)]
    speaker.join()
    assert got == ["a" * 100, "b"]


def test_a_call_after_one_whose_reply_was_not_awaited_is_refused(other: Other) -> None:
    other.connection.send(("one", ()))
    with pytest.raises(Pyro5.errors.ProtocolError, match="interrupted"):
        other.connection.call("two", (), 30.0)


def test_an_argument_that_cannot_travel_leaves_the_connection_as_it_was(broker: BulkProxy) -> None:
    for _ in range(2):
        with pytest.raises(TypeError, match="cannot travel"):
            broker.send(("hello", ()), ("store_data", ({"x": object()},)))
    assert broker.call("hello")["label"] == "lean"


def test_a_reply_to_another_call_is_not_taken(other: Other) -> None:
    other.connection.send(("one", ()))
    header = other.take_call()
    other.sock.sendall(other.answer(header._replace(sequence=77), "wrong"))
    with pytest.raises(Pyro5.errors.ProtocolError, match="out of order"):
        other.connection.receive(30.0)


def test_silence_ends_a_call_when_its_time_is_over(other: Other) -> None:
    with pytest.raises(Pyro5.errors.TimeoutError):
        other.connection.call("one", (), 0.01)


@pytest.mark.parametrize("said", [b"", b"PYRO", b"HTTP/1.1 400 Bad Request\r\n" * 9])
def test_a_connection_that_ends_or_is_no_pyro_connection_is_told(other: Other, said: bytes) -> None:
    other.connection.send(("one", ()))
    other.take_call()
    other.sock.sendall(said)
    other.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(Pyro5.errors.CommunicationError):
        other.connection.receive(30.0)
