"""Who gets in: the key file, the token of plain proxies, the mutual proof, and what needs a key."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrotask.errors import AuthenticationFailed, KeyRequired
from pyrotask.remote.private_files import write_private
from pyrotask.remote.security import (
    ClientProof,
    ServerChallenge,
    create_key,
    is_loopback,
    is_token,
    load_key,
    load_or_create_key,
    new_nonce,
    require_key_for,
    token,
)
from tests.remote.ownership import mode_of, names_in, only_root

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
LABEL = "my run@10:10"


# ---- the key file


def test_a_created_key_can_be_loaded(tmp_path: Path) -> None:
    assert create_key(tmp_path / "key") == load_key(tmp_path / "key")


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    assert create_key(tmp_path / "one") != create_key(tmp_path / "two")


def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        create_key(tmp_path / "new" / "key")
    finally:
        os.umask(umask)

    assert mode_of(tmp_path / "new" / "key") == 0o600
    assert mode_of(tmp_path / "new") == 0o700


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = create_key(tmp_path / "key")

    with pytest.raises(FileExistsError, match="--key-file"):
        create_key(tmp_path / "key")
    assert load_key(tmp_path / "key") == key


def test_creating_a_key_leaves_nothing_beside_it(tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    with pytest.raises(FileExistsError):
        create_key(tmp_path / "key")

    assert names_in(tmp_path) == ["key"]


def test_processes_that_need_a_key_at_once_agree_on_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_or_create_key(tmp_path / "key"), range(32)))

    assert keys == {load_key(tmp_path / "key")}


def test_a_missing_key_file_says_where_a_key_comes_from(tmp_path: Path) -> None:
    with pytest.raises(KeyRequired, match=r"copy the broker's file .*--key-file"):
        load_key(tmp_path / "key")


@pytest.mark.parametrize("content", [b"", b"secret", b"ab" * 31, b"ab" * 33, b"\xff" * 64])
def test_a_file_without_a_key_in_it_is_refused(content: bytes, tmp_path: Path) -> None:
    write_private(tmp_path / "key", content)

    with pytest.raises(KeyRequired, match="holds no key"):
        load_key(tmp_path / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_that_others_can_reach_is_refused_with_the_command_that_repairs_it(
    mode: int, tmp_path: Path
) -> None:
    path = tmp_path / "my key"
    create_key(path)
    path.chmod(mode)

    with pytest.raises(PermissionError, match=f"chmod 600 '{path}'"):
        load_key(path)


@only_root
def test_somebody_elses_key_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    os.chown(tmp_path / "key", 12345, -1)

    with pytest.raises(PermissionError, match="belongs to user 12345"):
        load_key(tmp_path / "key")


def test_a_pipe_instead_of_a_key_file_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)

    with pytest.raises(PermissionError, match="no regular file"):
        load_key(tmp_path / "key")


# ---- the token of plain proxies


def test_the_token_is_accepted_for_its_key_only() -> None:
    assert is_token(KEY, token(KEY))
    assert not is_token(OTHER_KEY, token(KEY))


def test_the_token_does_not_contain_the_key() -> None:
    assert KEY.hex() not in token(KEY)


@given(
    st.one_of(
        st.none(), st.integers(), st.binary(), st.text(st.characters(codec=None)), st.just(KEY.hex()),
        st.dictionaries(st.text(), st.text()),
    )
)  # fmt: skip
def test_nothing_else_is_a_token_whatever_its_type(offered: object) -> None:
    assert not is_token(KEY, offered)


# ---- the mutual proof


def handshake(client_key: bytes, broker_key: bytes, client_label: str, broker_label: str) -> None:
    client = ClientProof(client_key)
    broker = ServerChallenge(broker_key, broker_label, client.nonce)
    client.check(broker.check(client.answer(client_label, broker.nonce)))


@given(st.binary(min_size=32, max_size=32), st.text(st.characters(codec=None)))
def test_two_that_share_key_and_label_accept_each_other(key: bytes, label: str) -> None:
    handshake(key, key, label, label)


def test_a_client_with_another_key_is_refused() -> None:
    with pytest.raises(AuthenticationFailed, match="client could not prove.*--key-file"):
        handshake(OTHER_KEY, KEY, LABEL, LABEL)


def test_a_proof_for_another_label_is_refused() -> None:
    with pytest.raises(AuthenticationFailed, match="client could not prove"):
        handshake(KEY, KEY, "another", LABEL)


def test_a_broker_with_another_key_is_refused() -> None:
    client = ClientProof(KEY)
    answer = client.answer(LABEL, new_nonce())
    impostor = ClientProof(OTHER_KEY)

    with pytest.raises(AuthenticationFailed, match="broker could not prove"):
        client.check(impostor.answer(LABEL, client.nonce))
    assert answer


def test_a_recorded_proof_is_refused_in_the_next_connection() -> None:
    client = ClientProof(KEY)
    broker = ServerChallenge(KEY, LABEL, client.nonce)
    recorded = client.answer(LABEL, broker.nonce)
    broker.check(recorded)

    with pytest.raises(AuthenticationFailed):
        ServerChallenge(KEY, LABEL, client.nonce).check(recorded)


def test_a_recorded_broker_proves_nothing_in_the_next_connection() -> None:
    client = ClientProof(KEY)
    broker = ServerChallenge(KEY, LABEL, client.nonce)
    recorded = broker.check(client.answer(LABEL, broker.nonce))

    again = ClientProof(KEY)
    again.answer(LABEL, broker.nonce)
    with pytest.raises(AuthenticationFailed):
        again.check(recorded)


def test_a_clients_proof_sent_back_to_it_is_refused() -> None:
    client = ClientProof(KEY)
    reflected = client.answer(LABEL, new_nonce())

    with pytest.raises(AuthenticationFailed):
        client.check(reflected)


def test_a_client_whose_own_nonce_comes_back_is_not_fooled() -> None:
    client = ClientProof(KEY)
    reflected = client.answer(LABEL, client.nonce)

    with pytest.raises(AuthenticationFailed):
        client.check(reflected)


def test_a_brokers_proof_does_not_open_another_broker() -> None:
    """Who plays the broker to a client, and the client to the broker, with what each says."""
    client = ClientProof(KEY)
    broker = ServerChallenge(KEY, LABEL, client.nonce)
    proof_of_broker = broker.check(client.answer(LABEL, broker.nonce))

    with pytest.raises(AuthenticationFailed):
        ServerChallenge(KEY, LABEL, client.nonce, broker.nonce).check(proof_of_broker)


def test_a_challenge_is_good_for_one_try() -> None:
    client = ClientProof(KEY)
    broker = ServerChallenge(KEY, LABEL, client.nonce)
    answer = client.answer(LABEL, broker.nonce)
    with pytest.raises(AuthenticationFailed):
        broker.check("00" * 32)

    with pytest.raises(AuthenticationFailed):
        broker.check(answer)


def test_a_broker_that_speaks_before_it_was_asked_is_refused() -> None:
    with pytest.raises(AuthenticationFailed):
        ClientProof(KEY).check("00" * 32)


@pytest.mark.parametrize(
    "junk", [None, 7, b"\x00" * 32, "", "zz" * 32, "00" * 31, "00" * 33, ["00" * 32]], ids=repr
)
def test_what_is_no_nonce_and_no_proof_is_refused_whatever_its_type(junk: object) -> None:
    client = ClientProof(KEY)
    with pytest.raises(AuthenticationFailed, match="no valid nonce"):
        ServerChallenge(KEY, LABEL, junk)
    with pytest.raises(AuthenticationFailed, match="no valid nonce"):
        client.answer(LABEL, junk)
    with pytest.raises(AuthenticationFailed):
        ServerChallenge(KEY, LABEL, client.nonce).check(junk)


def test_nonces_do_not_repeat() -> None:
    assert len({new_nonce() for _ in range(1000)}) == 1000


# ---- what needs a key


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "./u:/run/broker",
    ],
)
def test_loopback_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.0", "::", "192.168.1.1", "10.0.0.1", "::ffff:10.0.0.1", "example.org",
     "localhost.example.org", "127.0.0.1.example.org", "127.1"],
)  # fmt: skip
def test_everything_else_counts_as_public(host: str) -> None:
    assert not is_loopback(host)


def test_a_public_address_needs_a_key_and_the_error_names_the_command() -> None:
    with pytest.raises(KeyRequired) as refused:
        require_key_for("0.0.0.0", None, insecure=False, label="my run")

    assert "`pyrotask serve 'my run' --host 0.0.0.0 --key-file FILE`" in str(refused.value)
    assert "`pyrotask serve 'my run' --host 0.0.0.0 --insecure`" in str(refused.value)


@pytest.mark.parametrize(
    ("host", "key", "insecure"),
    [("0.0.0.0", KEY, False), ("0.0.0.0", None, True), ("127.0.0.1", None, False)],
    ids=["with a key", "insisted", "loopback"],
)
def test_a_key_or_insisting_or_loopback_is_enough(host: str, key: bytes | None, insecure: bool) -> None:
    require_key_for(host, key, insecure=insecure)
