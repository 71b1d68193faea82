"""The mistakes of the first hour: each is told in a sentence that has the next command to type."""

from __future__ import annotations

import json
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pyrotask
from pyrotask import Server, TaskManager
from pyrotask.cli import main
from pyrotask.errors import PayloadError
from pyrotask.remote import versions
from tests.cli import commands
from tests.ports import free_port
from tests.waiting import until


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(label="molecules", name_server="off") as server:
        yield server


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that fails, in one line."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    "command", [("status",), ("stop",), ("worker", "--module", "pyrotask.demo.analysis")]
)
def test_no_broker(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, command[0], "pi", *command[1:])
    assert "no broker of label 'pi' was found" in text
    assert "`pyrotask serve pi`" in text


def test_no_broker_at_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    text = refusal(capsys, "status", address)
    assert address in text
    assert "`pyrotask list`" in text


def test_a_wrong_label(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean `molecules`?" in refusal(capsys, "status", "molecule")


def test_a_label_far_from_any_is_no_guess(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean" not in refusal(capsys, "status", "pi")


@pytest.mark.parametrize("command", ["serve", "status", "worker", "stop", "tasks", "cancel"])
def test_an_empty_label(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, ""]) == 2
    assert capsys.readouterr().err == (
        "pyrotask: a label cannot be empty: name it after the computation, for example; as in "
        f"`pyrotask {command} pi`\n"
    )


@pytest.mark.parametrize("host", ["nonsense.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "pi", "--host", host, "--insecure"]) == 2
    text = capsys.readouterr().err
    assert f"--host {host} is no address of this machine" in text
    assert "--host 0.0.0.0" in text


def test_a_key_file_that_is_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["serve", "pi", "--key-file", str(tmp_path)]) == 2
    assert f"`--key-file {tmp_path / 'pyrotask.key'}`" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "worker"])
def test_a_key_file_that_was_never_copied(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "pi", "--key-file", "not here.key"])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert "there is no file 'not here.key'" in text
    assert "`pyrotask list`, on the broker's machine, names it" in text


def test_a_journal_that_is_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "pi").touch()
    assert main(["serve", "pi", "--journal", str(tmp_path / "pi")]) == 2
    assert f"`--journal {tmp_path / 'pi.journal'}`" in capsys.readouterr().err


def test_the_key_of_another_broker(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    key, other = tmp_path / "pi.key", tmp_path / "other.key"
    with (
        Server(label="other", name_server="off", key_file=other),
        Server(label="pi", name_server="off", key_file=key) as server,
    ):
        text = refusal(capsys, "status", server.address, "--key-file", str(other))
    assert "key" in text
    assert "`pyrotask list`" in text


def test_no_label_and_several_brokers(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with Server(label="my atoms", name_server="off"):
        text = refusal(capsys, "status")
    assert "`pyrotask status molecules`" in text
    assert "`pyrotask status 'my atoms'`" in text


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = refusal(capsys, "serve", "pi", "--port", str(port), "--name-server", "off")
    assert str(port) in text
    assert "--port" in text


def test_a_label_that_is_held(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, "serve", "molecules", "--name-server", "off")
    assert "'molecules' is held" in text
    assert "pyrotask stop molecules" in text


def test_no_name_server_where_one_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, "serve", "pi", "--name-server", f"127.0.0.1:{free_port()}")
    assert "`pyro5-ns`" in text


def test_a_public_address_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, "serve", "pi", "--host", "0.0.0.0", "--name-server", "off")
    assert "`pyrotask serve pi --host 0.0.0.0 --key-file FILE`" in text


def test_a_public_address_in_the_settings_without_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROTASK_HOST", "0.0.0.0")
    text = refusal(capsys, "serve", "pi", "--name-server", "off")
    assert "`pyrotask serve pi --host 0.0.0.0 --key-file FILE`" in text


def test_a_broker_that_asks_for_its_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(label="pi", name_server="off", key_file=tmp_path / "pi.key") as server:
        # As on another machine: no connection file tells where the key is.
        text = refusal(capsys, "status", server.address)
    assert "--key-file" in text


@pytest.mark.slow
def test_a_module_that_is_not_there(server: Server) -> None:
    result = commands.run("worker", "molecules", "-n", "1", "--module", "my_tsaks")
    assert result.code == 1
    assert "module 'my_tsaks' was not found" in result.err
    assert "--module path/to/my_tasks.py" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.slow
def test_a_mistyped_module_is_told_once_however_many_children_there_are(server: Server) -> None:
    with commands.Running("worker", "molecules", "-n", "4", "--module", "my_tsaks", "--json") as worker:
        result = worker.end()
    assert result.code == 1
    assert result.err.count("my_tsaks' was not found") == 1
    assert result.err.count("\n") == 1
    # None was started again: what is not there will not come by waiting.
    assert sum(json.loads(line)["event"] == "started" for line in result.out.splitlines()) == 4


@pytest.mark.slow
def test_a_module_that_cannot_be_imported(server: Server, tmp_path: Path) -> None:
    module = tmp_path / "half_done.py"
    module.write_text("import nothing_there\n")
    result = commands.run("worker", "molecules", "-n", "2", "--module", str(module))
    assert result.code == 1
    assert "pip install nothing_there`" in result.err
    assert result.err.count("\n") == 1
    assert "exit code" not in result.out


@pytest.mark.slow
def test_a_module_without_a_handler(server: Server) -> None:
    result = commands.run("worker", "molecules", "-n", "1", "--module", "colorsys")
    assert result.code == 1
    assert "`@handler`" in result.err


@pytest.mark.slow
def test_a_tag_that_no_worker_has_a_handler_for(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.task_manager.addTaskRequest("sqrt", (2.0,))
    with commands.Running(
        "worker", "molecules", "-n", "1", "--module", "pyrotask.demo.analysis", "--json"
    ) as worker:
        worker.event("registered")
        assert main(["status"]) == 0
    assert "1 task tagged sqrt waits; the only worker has no handler for it" in capsys.readouterr().out


@contextmanager
def broker_of_others(change: str) -> Iterator[None]:
    """A broker of label pi in a process of its own, that is changed first."""
    code = (
        "import platform, pyrotask, sys; from pyrotask.remote import versions\n"
        f"{change}\n"
        "with pyrotask.Server(label='pi', name_server='off') as server:\n"
        "    print(server.address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.communicate()


def test_a_broker_of_another_version(capsys: pytest.CaptureFixture[str]) -> None:
    with broker_of_others("versions.WIRES, pyrotask.__version__ = versions.WireRange(98, 99), '9.9.9'"):
        text = refusal(capsys, "status", "pi")
    assert "runs pyrotask 9.9.9 (interface 98 to 99)" in text
    assert f"this is {pyrotask.__version__} (interface {versions.WIRES})" in text
    assert "`pip install pyrotask==9.9.9`" in text


@pytest.mark.slow
def test_a_worker_with_another_python_is_told_what_works_and_what_does_not() -> None:
    with (
        broker_of_others("platform.python_version = lambda: '3.99.1'"),
        commands.Running("worker", "pi", "-n", "1", "--module", "pyrotask.demo.analysis", "--json") as worker,
    ):
        until(lambda: worker.told().endswith("\n"))
        worker.event("node registered")
        text = worker.told()
    assert text.count("\n") == 1
    assert f"this is Python {platform.python_version()}, and the broker 'pi' runs 3.99.1" in text
    assert "Plain values travel" in text
    assert "lambdas" in text
    assert "`python3.99 -m venv" in text


def test_a_value_that_cannot_be_pickled() -> None:
    with TaskManager() as manager, pytest.raises(PayloadError, match="make them inside the task"):
        manager.addTaskRequest("read", ({"guard": threading.Lock()},))
