"""Addresses: how they are read and written, and whether somebody is there."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyrotask.remote.addresses import Address, answers, parse_address
from tests.remote.naming import OLD_SCRIPT_LABEL, SHORT_S

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:9090", "localhost", 9090),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("[::1]:5000", "::1", 5000),
        ("./u:/run/user/1/broker", "./u:/run/user/1/broker", 0),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, host: str, port: int) -> None:
    address = parse_address(text)

    assert (address.host, address.port, address.location) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "localhost", "localhost:", ":1", "a:99999", "./u:", OLD_SCRIPT_LABEL, "10:10:09"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host"):
        parse_address(text)


def test_a_unix_socket_answers_while_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a unix socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("broker")
        server.listen()
        assert answers(Address("./u:broker", 0), SHORT_S)

    assert not answers(Address("./u:broker", 0), SHORT_S)
