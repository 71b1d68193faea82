"""The ``task_manager`` command, with and without a name server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import Pyro5.nameserver
import pytest

from pyrotask.config import Settings
from pyrotask.errors import NameServerNotFound
from pyrotask.masterslave import MasterProcess
from pyrotask.masterslave.code import JobCode
from pyrotask.remote.name_server import list_names
from tests.daemons import serve_in_thread
from tests.masterslave.running import task_manager, write

if TYPE_CHECKING:
    from tests.masterslave.conftest import MakeMaster

pytestmark = pytest.mark.slow

SLAVE = """
    from pyrotask.masterslave import startSlaveProcess
    def do_double(x):
        return 2 * x
    startSlaveProcess()
"""


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Pyro name server of the test's own, which is where this user's programs look."""
    uri, daemon, _ = Pyro5.nameserver.start_ns(host="127.0.0.1", port=0, enableBroadcast=False)
    thread = serve_in_thread(daemon)
    monkeypatch.setenv("PYROTASK_NAME_SERVER", str(uri.location))
    yield str(uri.location)
    daemon.shutdown()
    thread.join()
    daemon.close()


def with_code(master: MasterProcess, folder: Path) -> MasterProcess:
    """Give the master code for its slaves."""
    JobCode.of_script(str(write(folder, "double.py", SLAVE))).store(master.task_manager)
    return master


# --- slave ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [[], ["-m", "127.0.0.1"], ["-m", "localhost"], ["-m", "127.0.0.1:{port}"]])
def test_a_slave_is_started_without_any_name_server(
    make_master: MakeMaster, tmp_path: Path, where: list[str]
) -> None:
    master = with_code(make_master("a job @ 10:09"), tmp_path)
    options = [word.format(port=master.pyro_daemon.port) for word in where]
    with task_manager(tmp_path, *options, "slave", master.label) as slave:
        master.requestTask("double", 4)
        assert master.retrieveResult()[2] == 8
        master.shutdown()
        assert slave.end() == 0
    assert slave.output == ""


def test_a_host_is_enough_where_there_is_neither_a_name_server_nor_a_connection_file(
    make_master: MakeMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = with_code(make_master("by its host"), tmp_path)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    monkeypatch.setenv("PYROTASK_RUNTIME_DIR", str(tmp_path / "elsewhere"))
    with task_manager(tmp_path, "-m", "127.0.0.1", "slave", master.label) as slave:
        master.requestTask("double", 4)
        assert master.retrieveResult()[2] == 8
        master.shutdown()
        assert slave.end() == 0


def test_a_slave_finds_its_master_by_the_name_server(
    name_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = with_code(MasterProcess("by name: 10:09 @ home", "require"), tmp_path)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    monkeypatch.setenv("PYROTASK_RUNTIME_DIR", str(tmp_path / "elsewhere"))
    try:
        assert master.pyro_ns.ping() is None
        with task_manager(tmp_path, "slave", master.label) as slave:
            master.requestTask("double", 4)
            assert master.retrieveResult()[2] == 8
            master.shutdown()
            assert slave.end() == 0
    finally:
        master.shutdown()
        master.task_manager.close()


def test_a_name_server_is_started_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("PYROTASK_NAME_SERVER", f"127.0.0.1:{port}")
    master = MasterProcess("with its own", "start")
    try:
        assert "with its own" in list_names(Settings.load())
    finally:
        master.shutdown()
        master.task_manager.close()
    with pytest.raises(NameServerNotFound):
        list_names(Settings.load())


def test_a_name_server_that_is_required_and_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("PYROTASK_NAME_SERVER", f"127.0.0.1:{port}")
    with pytest.raises(NameServerNotFound, match="pyro5-ns"):
        MasterProcess("in need", "require")


def test_a_slave_without_a_master_says_so_at_once(tmp_path: Path) -> None:
    with task_manager(tmp_path, "slave", "nobody") as slave:
        assert slave.end() == 1
    assert slave.output.startswith("task_manager: no broker of label 'nobody' was found. Looked in:")


def test_a_slave_may_come_before_its_master(make_master: MakeMaster, tmp_path: Path) -> None:
    with task_manager(tmp_path, "-w", "slave", "later") as slave:
        slave.wait_for("waiting for a master: no broker of label 'later' was found")
        master = with_code(make_master("later"), tmp_path)
        master.requestTask("double", 4)
        assert master.retrieveResult()[2] == 8
        master.shutdown()
        assert slave.end() == 0


def test_a_slave_may_come_when_its_broker_is_there_and_its_master_is_not(
    make_master: MakeMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROTASK_EXPLAIN_AFTER_S", "0.1")
    master = make_master("without code yet")
    with task_manager(tmp_path, "-w", "slave", master.label) as slave:
        slave.wait_for("waiting for the master without code yet to say what its slaves shall run")
        with_code(master, tmp_path).requestTask("double", 4)
        assert master.retrieveResult()[2] == 8
        master.shutdown()
        assert slave.end() == 0


def test_ctrl_c_ends_a_slave_that_waits_for_its_masters_code(
    make_master: MakeMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROTASK_EXPLAIN_AFTER_S", "0.1")
    make_master("without code")
    with task_manager(tmp_path, "-w", "slave", "without code") as slave:
        slave.wait_for("waiting for the master without code")
        slave.send(signal.SIGINT)
        assert slave.end() == 130
    assert len(slave.lines) == 1


def test_a_slave_of_a_master_without_code_is_told_what_to_do(make_master: MakeMaster, tmp_path: Path) -> None:
    make_master("without code")
    with task_manager(tmp_path, "slave", "without code") as slave:
        assert slave.end() == 1
    assert "startSlaveProcess('without code') as its last line" in slave.output
    assert "`task_manager -w slave 'without code'`" in slave.output


def test_code_that_starts_no_slave_is_an_error(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master("forgetful")
    JobCode.of_script(str(write(tmp_path, "x.py", "def do_x(): pass\n"))).store(master.task_manager)
    with task_manager(tmp_path, "slave", "forgetful") as slave:
        assert slave.end() == 1
    assert "its last line must be startSlaveProcess()" in slave.output


def test_the_port_of_another_master_is_an_error_that_names_it(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    port = make_master("one").pyro_daemon.port
    with task_manager(tmp_path, "-m", f"127.0.0.1:{port}", "slave", "another") as slave:
        assert slave.end() == 1
    assert "has label 'one', not 'another'" in slave.output


def test_ctrl_c_ends_a_slave_without_a_traceback(make_master: MakeMaster, tmp_path: Path) -> None:
    master = with_code(make_master(), tmp_path)
    with task_manager(tmp_path, "slave", master.label) as slave:
        master.requestTask("double", 4)
        assert master.retrieveResult()[2] == 8
        slave.send(signal.SIGINT)
        assert slave.end() == 130
    assert slave.output == ""


# --- show and list ------------------------------------------------------------------------------------


def test_show_tells_what_there_is_to_do_and_why_it_waits(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master("a job")
    for i in range(3):
        master.requestTask("sqrt", i)
    with task_manager(tmp_path, "show", "a job") as show:
        assert show.end() == 0
    assert f"a job at 127.0.0.1:{master.pyro_daemon.port}" in show.output
    assert "1 active process\n" in show.output
    assert "tasks tagged sqrt: 3 waiting, 0 running, 0 finished" in show.output
    assert "3 tasks tagged sqrt wait; no worker is registered" in show.output


def test_show_says_more_with_v(make_master: MakeMaster, tmp_path: Path) -> None:
    make_master("a job")
    with task_manager(tmp_path, "-v", "show", "a job") as show:
        assert show.end() == 0
    assert "Python" in show.output


def test_list_shows_every_master_by_its_label(make_master: MakeMaster, tmp_path: Path) -> None:
    ports = [make_master(label).pyro_daemon.port for label in ("job 1:1", "job 2@2")]
    with task_manager(tmp_path, "list") as listed:
        assert listed.end() == 0
    assert listed.output == f"job 1:1  127.0.0.1:{ports[0]}\njob 2@2  127.0.0.1:{ports[1]}\n"


def test_list_shows_the_masters_of_a_host(
    make_master: MakeMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = make_master("mine").pyro_daemon.port
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    monkeypatch.setenv("PYROTASK_RUNTIME_DIR", str(tmp_path / "elsewhere"))
    with task_manager(tmp_path, "-m", f"127.0.0.1:{port}", "list") as listed:
        assert listed.end() == 0
    assert listed.output == f"mine  127.0.0.1:{port}\n"


def test_list_shows_the_names_in_the_name_server(
    name_server: str, make_master: MakeMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = MasterProcess("named @ 10:09", "require")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    monkeypatch.setenv("PYROTASK_RUNTIME_DIR", str(tmp_path / "elsewhere"))
    try:
        with task_manager(tmp_path, "list") as listed:
            assert listed.end() == 0
        assert listed.output == f"named @ 10:09  127.0.0.1:{master.pyro_daemon.port}\n"
    finally:
        master.shutdown()
        master.task_manager.close()


def test_list_says_that_there_is_none(tmp_path: Path) -> None:
    with task_manager(tmp_path, "list") as listed:
        assert listed.end() == 0
    assert listed.output == "no task manager was found\n"


def test_a_host_that_is_none_is_a_wrong_usage(tmp_path: Path) -> None:
    with task_manager(tmp_path, "-m", "no host:xyz", "list") as listed:
        assert listed.end() == 2
