"""How a server is found: its connection file, and the name server in all its states."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from Pyro5.api import Proxy

from pyrotask.config import Settings
from pyrotask.errors import BrokerNotFound, LabelHeld, NameServerNotFound
from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.discovery import find
from pyrotask.remote.name_server import lookup_name, register_name
from pyrotask.remote.registration import NameServer, Registration
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from tests.figures import Figure
from tests.ports import free_port, silent_server
from tests.waiting import until


@pytest.fixture
def settings() -> Settings:
    return Settings(name_server=f"127.0.0.1:{free_port()}", lookup_timeout_s=2.0)


@pytest.fixture
def name_server(settings: Settings) -> Iterator[NameServer]:
    server = NameServer("127.0.0.1", settings)
    yield server
    server.stop()


@pytest.fixture
def task_manager(settings: Settings) -> Iterator[TaskManager]:
    with TaskManager(settings) as task_manager:
        yield task_manager


def file_of(label: str, port: int) -> ConnectionFile:
    return ConnectionFile(
        label=label, host="127.0.0.1", port=port, pid=os.getpid(), hostname=socket.gethostname(),
        lineage="old", started_at=0.0, version="0",
    )  # fmt: skip


def test_a_server_is_found_by_its_file_as_long_as_it_runs(
    task_manager: TaskManager, settings: Settings
) -> None:
    with Server(task_manager, "run", name_server="off") as server:
        assert find("run", settings).location == server.address
    with pytest.raises(BrokerNotFound):
        find("run", settings)


def test_a_server_is_found_by_its_name_as_long_as_it_runs(
    task_manager: TaskManager, settings: Settings, name_server: NameServer
) -> None:
    with Server(task_manager, "run", connection_file=False) as server:
        assert lookup_name("run", settings) == server.uri
        with Proxy(server.uri) as tm:
            assert tm.numberOfActiveProcesses() == 0
    assert lookup_name("run", settings) is None


def test_without_a_name_server_nothing_is_missing(task_manager: TaskManager) -> None:
    with Server(task_manager, "run") as server:
        assert not server.warnings


def test_a_name_server_that_is_required_has_to_be_there(
    task_manager: TaskManager, settings: Settings
) -> None:
    server = Server(task_manager, "run", name_server="require")
    with pytest.raises(NameServerNotFound, match="pyro5-ns"):
        server.start()
    assert not ConnectionFile.list_all(settings.runtime_dir)


def test_a_name_server_is_started_for_who_asks(task_manager: TaskManager, settings: Settings) -> None:
    with Server(task_manager, "run", name_server="start") as server:
        assert lookup_name("run", settings) == server.uri


def test_a_name_server_that_is_there_is_not_started_again(
    task_manager: TaskManager, settings: Settings, name_server: NameServer
) -> None:
    with Server(task_manager, "run", name_server="start") as server:
        assert lookup_name("run", settings) == server.uri
    assert lookup_name("run", settings) is None


def test_the_label_of_a_live_server_is_held(task_manager: TaskManager) -> None:
    with Server(task_manager, "run", name_server="off") as first:
        with pytest.raises(LabelHeld, match="pyrotask stop run"):
            Server(task_manager, "run", name_server="off").start()
        with Proxy(first.uri) as tm:
            assert tm.numberOfActiveProcesses() == 0


def test_a_label_is_free_whose_last_owner_had_our_journal_whoever_has_its_port_now(
    task_manager: TaskManager, settings: Settings
) -> None:
    lineage = task_manager.broker.engine.lineage
    with silent_server() as port:
        left = replace(file_of("run", port), pid=os.getpid() + 1, lineage=lineage)
        left.write(settings.runtime_dir)
        with Server(task_manager, "run", name_server="off") as server:
            assert ConnectionFile.read(settings.runtime_dir, "run").port == server.port


def test_the_name_of_a_live_server_is_held(
    task_manager: TaskManager, settings: Settings, name_server: NameServer
) -> None:
    with Server(task_manager, "run", connection_file=False) as first:
        with pytest.raises(LabelHeld):
            Server(task_manager, "run", connection_file=False).start()
        assert lookup_name("run", settings) == first.uri


def test_a_file_that_a_dead_server_left_is_replaced(task_manager: TaskManager, settings: Settings) -> None:
    file_of("run", free_port()).write(settings.runtime_dir)
    with Server(task_manager, "run", name_server="off") as server:
        assert find("run", settings).location == server.address


def test_a_file_whose_port_another_broker_has_by_now_is_replaced(
    task_manager: TaskManager, settings: Settings
) -> None:
    with Server(task_manager, "else", name_server="off") as elsewhere:
        file_of("run", elsewhere.port).write(settings.runtime_dir)
        with Server(task_manager, "run", name_server="off") as server:
            assert find("run", settings).location == server.address


def test_a_damaged_file_is_replaced(task_manager: TaskManager, settings: Settings) -> None:
    path: Path = file_of("run", 1).write(settings.runtime_dir)
    path.write_text("{")
    with Server(task_manager, "run", name_server="off") as server:
        assert find("run", settings).location == server.address


def test_a_stale_name_is_replaced(
    task_manager: TaskManager, settings: Settings, name_server: NameServer
) -> None:
    register_name("run", f"PYRO:TaskManager.run@127.0.0.1:{free_port()}", settings)
    with Server(task_manager, "run") as server:
        assert lookup_name("run", settings) == server.uri


def test_a_name_server_that_dies_hurts_nobody_and_is_told(
    task_manager: TaskManager, settings: Settings, name_server: NameServer
) -> None:
    with Server(task_manager, "run", connection_file=False) as server:
        registration = Registration(
            file_of("run", server.port), server.uri, settings, "auto", with_file=False, look_every_s=0.05
        )
        registration.enter()
        name_server.stop()
        until(lambda: any("pyro5-ns" in warning for warning in registration.warnings))
        with Proxy(server.uri) as tm:
            assert tm.numberOfActiveProcesses() == 0
        registration.leave()


def test_a_restarted_name_server_knows_the_name_again(
    task_manager: TaskManager, settings: Settings, name_server: NameServer
) -> None:
    with Server(task_manager, "run", name_server="off", connection_file=False) as server:
        registration = Registration(
            file_of("run", server.port), server.uri, settings, "auto", with_file=False, look_every_s=0.05
        )
        registration.enter()
        name_server.stop()
        until(lambda: bool(registration.warnings))
        again = NameServer("127.0.0.1", settings)
        until(lambda: not registration.warnings)
        assert lookup_name("run", settings) == server.uri
        registration.leave()
        again.stop()


def test_a_name_server_that_comes_later_is_told(task_manager: TaskManager, settings: Settings) -> None:
    with Server(task_manager, "run", name_server="off", connection_file=False) as server:
        registration = Registration(
            file_of("run", server.port), server.uri, settings, "auto", with_file=False, look_every_s=0.05
        )
        registration.enter()
        later = NameServer("127.0.0.1", settings)
        until(lambda: lookup_name("run", settings) == server.uri)
        registration.leave()
        later.stop()


def test_a_connection_file_that_the_system_has_removed_is_written_again(
    task_manager: TaskManager, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrotask.remote.server.LOOK_EVERY_S", 0.05)
    with Server(task_manager, "run", name_server="off"):
        path = ConnectionFile.path(settings.runtime_dir, "run")
        for _ in range(2):
            path.unlink()
            until(path.exists)
    assert ConnectionFile.list_all(settings.runtime_dir) == []


@pytest.mark.skipif(os.name == "nt", reason="there are no modes")
def test_a_connection_file_that_cannot_be_written_again_is_told(
    task_manager: TaskManager, settings: Settings
) -> None:
    with Server(task_manager, "run", name_server="off", connection_file=False) as server:
        registration = Registration(file_of("run", server.port), server.uri, settings, "off")
        registration.enter()
        settings.runtime_dir.chmod(0o755)
        ConnectionFile.path(settings.runtime_dir, "run").unlink()
        registration.look_at_file()
        assert any("could not be written" in warning for warning in registration.warnings)
        settings.runtime_dir.chmod(0o700)
        registration.look_at_file()
        assert not registration.warnings
        registration.leave()


def test_a_silent_name_server_does_not_hold_up_a_stop(
    task_manager: TaskManager, name_server: NameServer, settings: Settings, figure: Figure
) -> None:
    server = Server(task_manager, "run").start()
    assert settings.name_server is not None
    port = int(settings.name_server.rpartition(":")[2])
    name_server.stop()
    with socket.create_server(("127.0.0.1", port)):  # takes connections, and says nothing
        began = time.perf_counter()
        server.stop()
        took = time.perf_counter() - began
        figure(f"stopped within {took:.3f} s")
        assert took < 20  # ten times what is promised
    assert not ConnectionFile.list_all(settings.runtime_dir)
