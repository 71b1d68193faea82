"""Who gets in when there is a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from Pyro5.api import Proxy, expose
from Pyro5.errors import CommunicationError

from pyrotask.errors import AuthenticationFailed
from pyrotask.remote.auth import AUTH_OBJECT, Gate
from pyrotask.remote.security import ClientProof, load_key, token
from pyrotask.remote.server import Server
from tests.remote.serving import RawClient, connected, plain_proxy, serving

KEY = bytes(range(32))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.fixture
def server(key_file: Path) -> Iterator[Server]:
    with serving("guarded", key_file=key_file) as server:
        yield server


@pytest.fixture
def key(server: Server, key_file: Path) -> bytes:
    return load_key(key_file)


def greeting(proof: ClientProof) -> dict[str, Any]:
    return {"pyrotask": "0", "wire": 1, "nonce": proof.nonce}


def challenged(server: Server, proof: ClientProof) -> tuple[RawClient, dict[str, Any]]:
    """One of our own clients, after Pyro's handshake."""
    client = RawClient(server, "msgpack", silent=True)
    client.greet(greeting(proof))
    kind, answer = client.receive()
    assert kind == 2
    return client, answer["handshake"]


def test_without_a_key_everybody_gets_in() -> None:
    gate = Gate(None, "label", is_local=False)
    assert gate.greet("hello") == "hello"
    assert gate.is_open


def test_without_a_key_our_own_clients_are_not_challenged() -> None:
    gate = Gate(None, "label", is_local=False)
    assert gate.greet(greeting(ClientProof(KEY))) == {"label": "label", "challenge": None}


def test_the_token_is_taken_on_this_machine_only() -> None:
    near, far = (Gate(KEY, "label", is_local=local) for local in (True, False))
    near.greet(token(KEY))
    assert near.is_open
    with pytest.raises(AuthenticationFailed, match="could be read on its way"):
        far.greet(token(KEY))
    assert not far.is_open


@pytest.mark.parametrize(
    "offered", ["hello", "", None, 5, b"x", token(bytes(32)), {"nonce": "x"}, ["pyrotask"]]
)
def test_anything_but_the_token_is_refused(offered: object) -> None:
    gate = Gate(KEY, "label", is_local=True)
    with pytest.raises(AuthenticationFailed, match=r"pyrotask\.connect"):
        gate.greet(offered)
    assert not gate.is_open


def test_a_proof_has_one_try() -> None:
    gate = Gate(KEY, "label", is_local=False)
    proof = ClientProof(KEY)
    challenge: Any = gate.greet(greeting(proof))
    right = proof.answer("label", challenge["challenge"])
    with pytest.raises(AuthenticationFailed):
        gate.prove("00" * 32)
    with pytest.raises(AuthenticationFailed):
        gate.prove(right)
    assert not gate.is_open


def test_a_plain_proxy_with_the_token_is_served(server: Server, key: bytes) -> None:
    with plain_proxy(server, handshake=token(key)) as tm:
        assert tm.numberOfActiveProcesses() == 0


@pytest.mark.parametrize("handshake", ["hello", "0" * 64])
def test_a_plain_proxy_without_the_token_is_not(server: Server, handshake: str) -> None:
    with (
        plain_proxy(server, handshake=handshake) as tm,
        pytest.raises(CommunicationError, match="asks for a key"),
    ):
        tm._pyroBind()


def test_our_own_client_proves_the_key_and_is_served(server: Server, key: bytes) -> None:
    proof = ClientProof(key)
    client, answer = challenged(server, proof)
    with client:
        client.call("prove", proof.answer(answer["label"], answer["challenge"]), object_id=AUTH_OBJECT)
        proof.check(client.receive()[1])
        assert client.answer("numberOfActiveProcesses") == 0


def test_a_wrong_proof_ends_the_connection(server: Server) -> None:
    proof = ClientProof(KEY)
    client, answer = challenged(server, proof)
    with client:
        client.call("prove", proof.answer(answer["label"], answer["challenge"]), object_id=AUTH_OBJECT)
        error = client.receive()[1]
        assert error.remote_type == "AuthenticationFailed"
        assert client.is_closed_by_server()


@pytest.mark.parametrize(
    "object_id", ["TaskManager.guarded", "Pyro.Daemon", "Pyrotask.Bulk", "secret", "nobody"]
)
def test_nothing_is_reached_before_the_proof(server: Server, object_id: str) -> None:
    @expose
    class Secret:
        def ping(self) -> None:
            raise AssertionError("it was reached")

    server.daemon.register(Secret(), "secret")
    client, _ = challenged(server, ClientProof(KEY))
    with client:
        client.call("ping", object_id=object_id)
        assert client.receive()[1].remote_type == "AuthenticationFailed"
        assert client.is_closed_by_server()
    assert connected(server) == 0


def test_before_the_proof_messages_are_short(server: Server) -> None:
    client, _ = challenged(server, ClientProof(KEY))
    with client:
        client.call("prove", "x" * 100_000, object_id=AUTH_OBJECT)
        assert "too large" in str(client.receive()[1])
        assert client.is_closed_by_server()


def test_no_object_is_described_before_the_proof(server: Server) -> None:
    client = RawClient(server, silent=True)
    with client:
        client.greet(greeting(ClientProof(KEY)), object_id="nobody")
        said = client.receive()[1]
        assert said["meta"] is None


def test_the_key_file_is_made_once(key_file: Path) -> None:
    keys = []
    for _ in range(2):
        with serving("guarded", key_file=key_file):
            keys.append(load_key(key_file))
    assert keys[0] == keys[1]


def test_a_public_address_with_a_key_is_served(key_file: Path) -> None:
    with serving("public", key_file=key_file, host="0.0.0.0") as server:
        uri = f"PYRO:TaskManager.public@127.0.0.1:{server.port}"
        with Proxy(uri) as tm:
            tm._pyroHandshake = token(load_key(key_file))
            assert tm.numberOfActiveProcesses() == 0
