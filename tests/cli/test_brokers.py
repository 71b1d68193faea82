"""`serve`, `status`, `list` and `stop`, with real brokers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyrotask
from pyrotask import Server, TaskManagerTermination
from pyrotask.cli import main, status
from pyrotask.cli.greeting import greeting
from pyrotask.cli.leaving import Leaving
from pyrotask.config import Settings
from pyrotask.errors import BrokerBroken
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.connection_file import ConnectionFile
from tests.cli import commands
from tests.cli.conftest import Documents, Lines
from tests.cli.house import House
from tests.ports import free_port


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(label="pi", name_server="off") as server:
        yield server


# --- serve ------------------------------------------------------------------------------------


def test_serve_says_where_it_is_and_what_to_type() -> None:
    with commands.Running("serve", "my pi", "--name-server", "off") as broker:
        broker.line(containing="broker my pi listens on 127.0.0.1:")
        broker.line(containing="pyrotask worker 'my pi' -n")
        broker.line(containing="pyrotask serve 'my pi' --host 0.0.0.0 --port 9091 --key-file FILE")
        broker.line(containing="pyrotask stop 'my pi'")


def test_serve_for_other_machines_tells_of_the_key_and_the_firewall(tmp_path: Path) -> None:
    key = tmp_path / "pi.key"
    with Server(label="pi", name_server="off", key_file=key) as server:
        text = "\n".join(greeting(server, "0.0.0.0", key))
    assert f"{key} pyrotask.key" in text
    assert f":{server.port} -n 4 --module MODULE --key-file pyrotask.key" in text
    assert f"sudo ufw allow {server.port}/tcp" in text


def test_serve_makes_the_key_file(tmp_path: Path) -> None:
    key = tmp_path / "pi.key"
    with commands.Running("serve", "pi", "--name-server", "off", "--key-file", str(key), "--json") as broker:
        broker.event("serving")
        assert key.stat().st_mode & 0o777 == 0o600


def test_a_broken_broker_is_exit_code_1_and_told() -> None:
    code = (
        "import sys; from pyrotask.core.machine import Machine; from pyrotask.errors import BrokerBroken\n"
        "def register(*args, **kwargs): raise BrokerBroken('a task is in two places')\n"
        "Machine.register = register\n"
        "from pyrotask.cli import main\n"
        "sys.exit(main(['serve', 'pi', '--name-server', 'off', '--json']))"
    )
    with commands.Running("-c", code, command=(sys.executable,)) as broker:
        broker.event("serving")
        with pyrotask.connect("pi") as manager, pytest.raises((BrokerBroken, ConnectionError)):
            manager.registerProcess()
        result = broker.end()
    assert result.code == 1
    assert "a task is in two places" in result.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serve_in_order(number: signal.Signals) -> None:
    with commands.Running("serve", "pi", "--name-server", "off", "--json") as broker:
        broker.event("serving")
        manager = pyrotask.connect("pi")
        waits = threading.Thread(target=_is_told_of_the_end, args=(manager,))
        waits.start()
        broker.process.send_signal(number)
        result = broker.end()
        waits.join()
    assert result.code == 0
    assert "Traceback" not in result.err
    assert json.loads(result.out.splitlines()[-1])["why"] == number.name
    assert ConnectionFile.list_all(Path(os.environ["PYROTASK_RUNTIME_DIR"])) == []


def _is_told_of_the_end(manager: pyrotask.remote.proxy.TaskManagerProxy) -> None:
    manager._pyroClaimOwnership()
    with contextlib.suppress(TaskManagerTermination, ConnectionError), manager:
        manager.getAnyTask()


@pytest.mark.slow
def test_serve_ends_when_it_is_terminated_and_everything_is_collected() -> None:
    with commands.Running("serve", "pi", "--name-server", "off", "--json") as broker:
        broker.event("serving")
        with pyrotask.connect("pi") as manager:
            manager.addTaskRequest("sqrt", (2.0,))
            task, _, _ = manager.getAnyTask()
            manager.terminate()
            manager.storeResult(task, 1.4)
            assert manager.getAnyResult() == ("sqrt_0", "sqrt", 1.4)
        result = broker.end()
    assert result.code == 0
    assert json.loads(result.out.splitlines()[-1])["why"] == "it was terminated"


# --- status -----------------------------------------------------------------------------------


def test_status_counts_tasks_by_tag(server: Server, lines: Lines) -> None:
    manager = server.task_manager
    for number in range(3):
        manager.addTaskRequest("sqrt", (number,))
    manager.addTaskRequest("cube", (1,))
    manager.getTaskWithTag("sqrt")
    printed = lines("status", "pi")
    assert "  tag   waiting  running  finished" in printed
    assert "  sqrt        2        1         0" in printed
    assert "  cube        1        0         0" in printed


def test_status_shows_processes_and_what_they_run(server: Server, lines: Lines) -> None:
    process = server.task_manager.registerProcess(info="node 7")
    server.task_manager.addTaskRequest("sqrt", (2,))
    server.task_manager.getAnyTask(process)
    [line] = [line for line in lines("status", "pi") if "node 7" in line]
    assert "sqrt_0" in line


def test_status_says_why_tasks_wait_and_what_to_do(server: Server, lines: Lines) -> None:
    server.task_manager.addTaskRequest("sqrt", (2,))
    printed = lines("status", "pi")
    assert "  1 task tagged sqrt waits; no worker is registered" in printed
    assert printed[-1] == "  start a worker: pyrotask worker pi -n 2 --module MODULE"


def test_status_shows_sessions_and_how_to_collect_what_is_left_in_them(
    house: House, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.submit(count=3)
    house.take(1)
    house.succeed()
    monkeypatch.setattr(status, "IS_AWAY_AFTER_S", 0.0)
    printed = lines("status", "pi")
    [row] = [line for line in printed if line.startswith("  friday")]

    assert row.split()[-3:] == ["1", "2", "0"]
    assert "  to collect without its program: pyrotask results pi --session friday --save FOLDER" in printed


def test_status_of_the_only_broker_needs_no_label(server: Server, documents: Documents) -> None:
    assert documents("status")[0]["label"] == "pi"


def test_status_takes_an_address_too(server: Server, documents: Documents) -> None:
    assert documents("status", server.address)[0]["label"] == "pi"


def test_watching_ends_with_ctrl_c_and_exit_code_130(server: Server) -> None:
    with commands.Running("status", "pi", "--watch", "0.05") as watching:
        for _ in range(3):
            watching.line(containing="pi: serving")
        watching.interrupt()
        result = watching.end()
    assert (result.code, result.err) == (130, "")


# --- list -------------------------------------------------------------------------------------


def test_list_tells_who_answers(server: Server, documents: Documents) -> None:
    [broker] = documents("list")[0]["brokers"]
    assert (broker["label"], broker["address"], broker["state"]) == ("pi", server.address, "answers")
    assert broker["pid"] == os.getpid()


def test_a_terminated_broker_is_told_with_what_keeps_it(house: House, lines: Lines) -> None:
    house.submit(count=2)
    house.succeed()
    house.submit()
    house.take()
    house.client.call("terminate")
    rest = [
        "pi is terminated: it takes no new tasks, and keeps its label until it has ended",
        "  still running: 1; their results are taken",
        "  not collected: 2, by `pyrotask results pi --session friday --save FOLDER`",
        f"  to end it now, and give that up: `kill {os.getpid()}`",
    ]

    assert lines("list")[-len(rest) - 1 : -1] == rest
    assert lines("status", "pi")[-len(rest) :] == rest
    assert lines("stop", "pi", "--timeout", 0)[1:] == rest[1:]


def test_what_waits_at_a_terminated_broker_waits_for_nothing(house: House, lines: Lines) -> None:
    house.submit(count=2)
    house.client.call("terminate")
    told = lines("status", "pi")

    assert "  waiting: 2; nobody will run them" in told
    assert "why tasks wait:" not in told


def test_answers_that_belong_to_everybody_are_told_too(house: House, lines: Lines) -> None:
    house.server.task_manager.addTaskRequest("sqrt", (2.0,))
    house.succeed()
    house.client.call("terminate")

    assert "  not collected by others: 1; `pyrotask tasks pi` lists them" in lines("status")


def test_list_tells_who_does_not(server: Server, documents: Documents) -> None:
    ConnectionFile(
        label="dead", host="127.0.0.1", port=free_port(), pid=1, hostname="here", lineage="x",
        started_at=time.time(), version="0.1.0",
    ).write(Path(os.environ["PYROTASK_RUNTIME_DIR"]))  # fmt: skip
    states = {broker["label"]: broker["state"] for broker in documents("list")[0]["brokers"]}
    assert states == {"dead": "no answer", "pi": "answers"}


def test_list_names_the_key_file_to_copy(documents: Documents, tmp_path: Path) -> None:
    key = tmp_path / "pi.key"
    with Server(label="pi", name_server="off", key_file=key):
        [broker] = documents("list")[0]["brokers"]
    assert (broker["key_file"], broker["state"]) == (str(key), "answers")


def test_an_empty_list_says_how_to_start_one(lines: Lines) -> None:
    assert "start one with `pyrotask serve LABEL`" in lines("list")


def test_a_name_server_that_nobody_named_is_not_missed(lines: Lines) -> None:
    (line,) = [line for line in lines("list") if line.startswith("name server: ")]
    assert "--name-server" not in line


# --- stop -------------------------------------------------------------------------------------


def test_stop_terminates_and_tells_what_there_was(server: Server, lines: Lines) -> None:
    server.task_manager.addTaskRequest("sqrt", (2,))
    assert lines("stop", "pi", "--timeout", 0) == [
        "pi is terminated; tasks: 1 waiting (not to be run any more), 0 running, 0 not collected yet"
    ]
    with pytest.raises(TaskManagerTermination):
        server.task_manager.addTaskRequest("sqrt", (2,))


def test_stop_may_be_repeated(server: Server, documents: Documents) -> None:
    assert not documents("stop", "pi", "--timeout", 0)[0]["already"]
    assert documents("stop", "pi", "--timeout", 0)[0]["already"]


def test_stop_returns_when_the_label_is_free(server: Server) -> None:
    with commands.Running("stop", "pi") as stop:
        stop.line("pi is terminated")
        server.stop()
        assert stop.end().code == 0


def test_stop_that_waits_in_vain_says_how_to_end_it(server: Server, refusal: Callable[..., str]) -> None:
    told = refusal("stop", "pi", "--timeout", "0.1", "--quiet")

    assert "pi is terminated, and still has its label after 0.1 s" in told
    assert f"`kill {os.getpid()}`" in told


def test_a_broken_connection_is_not_the_brokers_end(server: Server) -> None:
    with BulkProxy("pi") as proxy:
        leaving = Leaving(proxy, Settings.load())
        server.task_manager.terminate()
        proxy.interrupt()
        assert not leaving.wait(0.1)
        server.stop()
        assert leaving.wait(commands.PATIENCE_S)


@pytest.mark.slow
def test_right_after_stop_another_broker_has_the_label_and_the_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    options = ("--name-server", "off", "--journal", str(journal), "--json")
    with commands.Running("serve", "pi", *options) as broker:
        broker.event("serving")
        assert commands.run("stop", "pi").code == 0
        with Server(label="pi", name_server="off", journal=journal):
            pass
        assert broker.end().code == 0


def test_quiet_says_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["status", "pi"], ["stop", "pi", "--timeout", "0"]):
        assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
