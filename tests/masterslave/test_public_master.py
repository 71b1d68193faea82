"""A master that other machines can reach: nobody gets in without its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import Pyro5.api
import pytest
from Pyro5.errors import CommunicationError

from pyrotask.config import Settings
from pyrotask.masterslave import MasterProcess
from pyrotask.masterslave.code import JobCode
from pyrotask.remote.security import create_key, load_key, token
from tests.masterslave.running import Running, task_manager, write

EVERYWHERE = "0.0.0.0"

SLAVE = """
    from pyrotask.masterslave import startSlaveProcess
    def do_double(x):
        return 2 * x
    startSlaveProcess()
"""


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "job.key"
    create_key(path)
    return path


@pytest.fixture
def master(key_file: Path, tmp_path: Path) -> Iterator[MasterProcess]:
    settings = Settings.load(key_file=key_file, plain_grace_s=20.0)
    master = MasterProcess("public", use_name_server=False, host=EVERYWHERE, settings=settings)
    try:
        JobCode.of_script(str(write(tmp_path, "double.py", SLAVE))).store(master.task_manager)
        yield master
    finally:
        master._in_a_hurry = True
        master.shutdown()
        master.task_manager.close()


@pytest.fixture
def another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection file tells where the master and its key are."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    monkeypatch.setenv("PYROTASK_RUNTIME_DIR", str(tmp_path / "elsewhere"))


def address(master: MasterProcess) -> str:
    return f"127.0.0.1:{master.pyro_daemon.port}"


def assert_works(slave: Running, master: MasterProcess) -> None:
    master.requestTask("double", 4)
    assert master.retrieveResult()[2] == 8
    master.shutdown()
    assert slave.end() == 0, slave.output


def test_a_public_master_makes_the_key_that_it_needs() -> None:
    settings = Settings.load()
    assert not settings.key_file.exists()
    master = MasterProcess("public", use_name_server=False, host=EVERYWHERE, settings=settings)
    try:
        assert load_key(settings.key_file)
        with (
            Pyro5.api.Proxy(f"PYRO:TaskManager.public@{address(master)}") as stranger,
            pytest.raises(CommunicationError, match="asks for a key"),
        ):
            stranger.numberOfTasks()
    finally:
        master._in_a_hurry = True
        master.shutdown()
        master.task_manager.close()


def test_a_plain_proxy_gets_in_with_the_masters_token_only(master: MasterProcess, key_file: Path) -> None:
    uri = f"PYRO:TaskManager.public@{address(master)}"
    with Pyro5.api.Proxy(uri) as stranger, pytest.raises(CommunicationError, match="asks for a key"):
        stranger.numberOfTasks()
    with Pyro5.api.Proxy(uri) as friend:
        friend._pyroHandshake = token(load_key(key_file))
        assert friend.numberOfActiveProcesses() == 1


@pytest.mark.slow
def test_a_slave_on_the_masters_machine_finds_the_key_by_itself(
    master: MasterProcess, tmp_path: Path
) -> None:
    with task_manager(tmp_path, "slave", "public") as slave:
        assert_works(slave, master)


@pytest.mark.slow
@pytest.mark.usefixtures("another_machine")
def test_a_slave_on_another_machine_needs_the_key(
    master: MasterProcess, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with task_manager(tmp_path, "-m", address(master), "slave", "public") as slave:
        assert slave.end() == 1
    assert "copy its key file" in slave.output
    assert "PYROTASK_KEY_FILE" in slave.output
    assert "Traceback" not in slave.output
    monkeypatch.setenv("PYROTASK_KEY_FILE", str(key_file))
    with task_manager(tmp_path, "-m", address(master), "slave", "public") as slave:
        assert_works(slave, master)


@pytest.mark.slow
def test_slaves_that_a_public_master_launches_get_in(master: MasterProcess) -> None:
    master.launchSlaveJobs(2)
    for number in range(4):
        master.requestTask("double", number)
    assert sorted(master.retrieveResult()[2] for _ in range(4)) == [0, 2, 4, 6]
