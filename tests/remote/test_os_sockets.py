"""What operating systems do differently with sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from pyrotask.remote.os_sockets import allow_many_sockets, has_hung_up, send_now, shut_down
from tests.remote.descriptors import no_descriptor_left

Pair = tuple[socket.socket, socket.socket]

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="there a socket is no file")


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The two ends of a connection; the first never blocks."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


def test_a_broker_may_open_as_many_sockets_as_the_system_allows() -> None:
    resource = pytest.importorskip("resource", reason="the system has no such limit")
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
        allow_many_sockets()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
        allow_many_sockets()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


@not_on_windows
def test_as_much_is_sent_now_as_the_system_takes(pair: Pair) -> None:
    near, far = pair
    assert send_now(near, b"all of it") == 9
    assert far.recv(100) == b"all of it"
    taken = [send_now(near, bytes(64 << 20)), send_now(near, b"more")]
    assert 0 < taken[0] < 64 << 20
    assert taken[1] == 0


@not_on_windows
def test_to_a_broken_connection_nothing_is_sent_and_that_is_no_error(pair: Pair) -> None:
    near, far = pair
    far.close()
    assert send_now(near, b"hello") == 0


@not_on_windows
def test_who_has_sent_something_is_still_there_also_when_no_descriptor_is_left(pair: Pair) -> None:
    near, far = pair
    far.sendall(b"x")
    with no_descriptor_left():
        assert not has_hung_up(near)
        far.shutdown(socket.SHUT_WR)
        assert near.recv(2) == b"x"
        assert has_hung_up(near)


def test_a_connection_that_is_shut_down_has_ended_for_both_and_its_socket_is_still_there(pair: Pair) -> None:
    near, far = pair
    shut_down(near)
    assert far.recv(1) == near.recv(1) == b""
    shut_down(near)  # a second time does no harm
    assert near.fileno() >= 0
