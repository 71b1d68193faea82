"""The name server, present, missing, silent and dying; and whose a name is."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import threading

import Pyro5.api
import pytest
from Pyro5.core import URI

from pyrotask.config import Settings
from pyrotask.errors import LabelHeld, NameServerNotFound
from pyrotask.remote.labels import object_name
from pyrotask.remote.name_server import (
    _name_server,
    list_names,
    locate_name_server,
    lookup_name,
    register_name,
    unregister_name,
)
from tests.ports import free_port, silent_server
from tests.remote.naming import NASTY_LABELS, OLD_SCRIPT_LABEL, KeyedDaemon, name_server_process, pyro_broker


def test_a_missing_name_server_says_how_to_start_one(nowhere: Settings) -> None:
    with pytest.raises(NameServerNotFound, match="`pyro5-ns`.*--name-server"):
        locate_name_server(nowhere)


def test_a_silent_name_server_is_given_up(nowhere: Settings) -> None:
    with silent_server() as port:
        settings = dataclasses.replace(nowhere, name_server=f"127.0.0.1:{port}")
        with pytest.raises(NameServerNotFound, match="`pyro5-ns`"):
            locate_name_server(settings)


def test_a_pyro_server_that_is_no_name_server_is_told_from_one(nowhere: Settings) -> None:
    with pyro_broker("x") as uri:
        settings = dataclasses.replace(nowhere, name_server=URI(uri).location)
        with pytest.raises(NameServerNotFound, match="unknown object"):
            locate_name_server(settings)


def test_without_a_setting_the_name_server_is_where_pyro_looks(
    with_ns: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_ns.name_server is not None
    host, _, port = with_ns.name_server.rpartition(":")
    monkeypatch.setattr(Pyro5.config, "NS_HOST", host)
    monkeypatch.setattr(Pyro5.config, "NS_PORT", int(port))

    with locate_name_server(dataclasses.replace(with_ns, name_server=None)) as names:
        assert names.count() == 1


def test_a_registered_label_can_be_looked_up_by_us_and_by_plain_pyro(with_ns: Settings) -> None:
    uri = f"PYRO:{object_name(OLD_SCRIPT_LABEL)}@127.0.0.1:5000"
    register_name(OLD_SCRIPT_LABEL, URI(uri), with_ns)

    assert lookup_name(OLD_SCRIPT_LABEL, with_ns) == uri
    assert str(Pyro5.core.resolve(f"PYRONAME:TaskManager.{OLD_SCRIPT_LABEL}@{with_ns.name_server}")) == uri


def test_all_labels_of_the_name_server_are_listed(with_ns: Settings) -> None:
    for label in NASTY_LABELS:
        register_name(label, f"PYRO:{object_name(label)}@127.0.0.1:5000", with_ns)

    assert set(list_names(with_ns)) == set(NASTY_LABELS)


def test_registering_again_changes_nothing(with_ns: Settings) -> None:
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)
        register_name("x", uri, with_ns)

        assert lookup_name("x", with_ns) == uri


def test_a_name_where_nobody_answers_is_replaced(with_ns: Settings) -> None:
    register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{free_port()}", with_ns)
    new = "PYRO:TaskManager.x@127.0.0.1:5000"
    register_name("x", new, with_ns)

    assert lookup_name("x", with_ns) == new


def test_a_name_whose_port_another_pyro_server_has_got_is_replaced(with_ns: Settings) -> None:
    with pyro_broker("another") as other:
        register_name("x", f"PYRO:TaskManager.x@{URI(other).location}", with_ns)
        new = "PYRO:TaskManager.x@127.0.0.1:5000"
        register_name("x", new, with_ns)

    assert lookup_name("x", with_ns) == new


def test_a_name_whose_port_another_program_has_got_is_replaced(with_ns: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet_two() -> None:  # the look whether somebody is there, and Pyro's handshake
            for _ in range(2):
                with contextlib.suppress(OSError), server.accept()[0] as peer:
                    peer.sendall(b"220 mail.example ESMTP: what speaks first is no Pyro server\r\n")
                    peer.recv(4096)

        thread = threading.Thread(target=greet_two)
        thread.start()
        register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{server.getsockname()[1]}", with_ns)
        new = "PYRO:TaskManager.x@127.0.0.1:5000"
        register_name("x", new, with_ns)
        thread.join()

    assert lookup_name("x", with_ns) == new


def test_a_live_brokers_label_is_held_and_the_error_says_by_whom(with_ns: Settings) -> None:
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)

        with pytest.raises(LabelHeld, match="Use another label") as held:
            register_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", with_ns)
        assert f"at {URI(uri).location}" in str(held.value)
        assert lookup_name("x", with_ns) == uri


def test_a_broker_that_asks_for_a_key_holds_its_label(with_ns: Settings) -> None:
    with pyro_broker("x", KeyedDaemon) as uri:
        register_name("x", uri, with_ns)

        with pytest.raises(LabelHeld):
            register_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", with_ns)


@pytest.mark.slow
def test_a_broker_that_is_stopped_for_a_while_holds_its_label(with_ns: Settings) -> None:
    hurried = dataclasses.replace(
        with_ns, lookup_timeout_s=2
    )  # ample for the name server, which is not silent
    with silent_server() as port:
        register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{port}", with_ns)

        with pytest.raises(LabelHeld):
            register_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", hurried)


def test_a_broker_takes_its_name_back_once(with_ns: Settings) -> None:
    uri = "PYRO:TaskManager.x@127.0.0.1:5000"
    register_name("x", uri, with_ns)

    assert unregister_name("x", uri, with_ns) is True
    assert lookup_name("x", with_ns) is None
    assert unregister_name("x", uri, with_ns) is False


def test_a_broker_leaves_its_successors_name(with_ns: Settings) -> None:
    register_name("x", "PYRO:TaskManager.x@127.0.0.1:5001", with_ns)

    assert unregister_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", with_ns) is False
    assert lookup_name("x", with_ns) == "PYRO:TaskManager.x@127.0.0.1:5001"


def test_unregistering_from_a_name_server_that_is_gone_warns_and_goes_on(
    nowhere: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert unregister_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", nowhere) is False
    assert "TaskManager.x stays in the name server" in caplog.text


def test_a_killed_name_server_is_reported_and_its_return_is_enough() -> None:
    uri = "PYRO:TaskManager.x@127.0.0.1:5000"
    with name_server_process() as (port, process):
        settings = Settings.load(name_server=f"127.0.0.1:{port}", lookup_timeout_s=30)
        register_name("x", uri, settings)
        process.kill()
        process.wait()

        with pytest.raises(NameServerNotFound):
            list_names(settings)
    with name_server_process() as (port, _):
        again = Settings.load(name_server=f"127.0.0.1:{port}", lookup_timeout_s=30)
        register_name("x", uri, again)
        assert list_names(again) == {"x": uri}


def test_every_call_of_the_name_server_is_bounded(with_ns: Settings) -> None:
    with locate_name_server(with_ns) as names:
        assert names._pyroTimeout == with_ns.lookup_timeout_s


@pytest.mark.slow
def test_a_name_server_that_stops_between_two_calls_costs_one_timeout_not_a_hang() -> None:
    with name_server_process() as (port, process):
        settings = Settings.load(name_server=f"127.0.0.1:{port}", lookup_timeout_s=2)

        def count_while_it_stops() -> None:
            with _name_server(settings) as names:
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # until then, a thread of it could still answer
                names.count()

        with pytest.raises(NameServerNotFound, match="stopped answering"):
            count_while_it_stops()
