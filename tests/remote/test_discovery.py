"""How a broker is found, and what is said when it is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from Pyro5.core import URI

from pyrotask.config import Settings
from pyrotask.errors import BrokerNotFound
from pyrotask.remote.addresses import Address
from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.discovery import find
from pyrotask.remote.name_server import register_name
from tests.ports import free_port, silent_server
from tests.remote.naming import OLD_SCRIPT_LABEL, file_of, pyro_broker


def test_an_address_is_found_whether_somebody_is_there_or_not(nowhere: Settings) -> None:
    port = free_port()

    assert find(f"127.0.0.1:{port}", nowhere) == Address("127.0.0.1", port, None, "address", None)


def test_an_address_needs_no_name_server(nowhere: Settings) -> None:
    with silent_server() as dead:
        settings = dataclasses.replace(nowhere, name_server=f"127.0.0.1:{dead}", lookup_timeout_s=1000)
        assert find("node7:9000", settings).location == "node7:9000"


def test_an_address_comes_with_the_users_key_if_he_has_one(nowhere: Settings) -> None:
    nowhere.key_file.parent.mkdir(parents=True)
    nowhere.key_file.touch()

    assert find("node7:9000", nowhere).key_file == nowhere.key_file


@pytest.mark.parametrize("label", ["x", OLD_SCRIPT_LABEL, "run:12"])
def test_a_label_is_found_by_its_connection_file(label: str, nowhere: Settings) -> None:
    with silent_server() as port:
        path = file_of(label, port=port, key_file=Path("/its.key")).write(nowhere.runtime_dir)

        assert find(label, nowhere) == Address(
            "127.0.0.1", port, label, f"connection file {path}", Path("/its.key")
        )


def test_an_address_that_was_a_label_once_is_an_address_again(nowhere: Settings) -> None:
    file_of("node7:9000", port=free_port()).write(nowhere.runtime_dir)

    assert find("node7:9000", nowhere).source == "address"


def test_a_label_is_found_in_the_name_server(with_ns: Settings) -> None:
    with pyro_broker("a b") as uri:
        register_name("a b", uri, with_ns)

        found = find("a b", with_ns)
        assert (found.location, found.label) == (URI(uri).location, "a b")
        assert found.source == f"name server {with_ns.name_server}"


def test_a_stale_connection_file_does_not_hide_the_name_server(with_ns: Settings) -> None:
    file_of("x", port=free_port()).write(with_ns.runtime_dir)
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)

        assert find("x", with_ns).location == URI(uri).location


def test_a_damaged_connection_file_does_not_hide_the_name_server(with_ns: Settings) -> None:
    file_of("x").write(with_ns.runtime_dir).write_bytes(b"")
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)

        assert find("x", with_ns).location == URI(uri).location


def test_a_label_that_is_nowhere_says_where_it_was_looked_for_and_what_to_type(nowhere: Settings) -> None:
    with pytest.raises(BrokerNotFound) as missing:
        find("my run", nowhere)

    message = str(missing.value)
    assert str(ConnectionFile.path(nowhere.runtime_dir, "my run")) in message
    assert f"name server {nowhere.name_server} (none answers there)" in message
    assert "`pyrotask serve 'my run'`" in message
    assert "`pyrotask list`" in message


def test_a_stale_file_and_a_stale_name_are_told(with_ns: Settings) -> None:
    port = free_port()
    file_of("x", port=port, pid=4711).write(with_ns.runtime_dir)
    register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{port}", with_ns)

    with pytest.raises(
        BrokerNotFound, match=rf"nobody answers at 127.0.0.1:{port}, where process 4711"
    ) as missing:
        find("x", with_ns)
    assert f"nobody answers at 127.0.0.1:{port}, which it names" in str(missing.value)


def test_a_name_server_that_does_not_know_the_label_is_told(with_ns: Settings) -> None:
    with pytest.raises(BrokerNotFound, match="it does not know TaskManager.x"):
        find("x", with_ns)
