"""`pyrotask worker`: what it tells of its children, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrotask import Server
from tests.cli import commands
from tests.waiting import until

pytestmark = pytest.mark.slow  # real processes

TASKS = """
import os, time
from pathlib import Path

def do_square(x):
    return x * x

def do_report_and_wait(path):
    Path(path).write_text(str(os.getpid()))
    while not Path(path + ".go on").exists():
        time.sleep(0.01)
    return "done"

def do_leave(code):
    os._exit(code)
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "some_tasks.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with Server(label="pi", name_server="off") as server:
        yield server


def worker(*arguments: str) -> commands.Running:
    return commands.Running("worker", "pi", "-n", "1", "--module", "some_tasks", *arguments)


def test_it_computes_until_the_broker_is_terminated(server: Server) -> None:
    manager = server.task_manager
    manager.addTaskRequest("square", (7,))
    with worker() as running:
        assert manager.getAnyResult(timeout=commands.PATIENCE_S) == ("square_0", "square", 49)
        manager.terminate()
        result = running.end()
    assert result.code == 0
    assert result.out.endswith("ended: the broker is terminated; processes started: 1, died: 0\n")


def test_it_waits_for_a_broker_that_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_tasks.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with worker("--wait", "60") as running:
        running.line("broker pi is not there yet: waiting for up to 60 s")
        with Server(label="pi", name_server="off") as server:
            server.task_manager.addTaskRequest("square", (7,))
            assert server.task_manager.getAnyResult(timeout=commands.PATIENCE_S)[2] == 49
            server.task_manager.terminate()
            assert running.end().code == 0


def test_it_gives_up_waiting_for_a_broker_that_does_not_come() -> None:
    result = commands.run("worker", "pi", "-n", "1", "--wait", "0.2")
    assert result.code == 1
    assert "gave up after 0.2 s without broker 'pi'" in result.err


def test_a_child_that_is_killed_is_told_with_signal_and_task(server: Server, tmp_path: Path) -> None:
    manager, file = server.task_manager, tmp_path / "running"
    manager.addTaskRequest("report_and_wait", (str(file),))
    with worker("--json") as running:
        first = running.event("registered")["pid"]
        _wait_for(file)
        os.kill(first, signal.SIGKILL)
        ended = running.event("ended")
        assert ended["tasks"] == ["report_and_wait_0"]
        assert "killed by signal 9 (SIGKILL) while running report_and_wait_0, attempt 1" in ended["detail"]
        assert running.event("registered")["pid"] != first
        Path(f"{file}.go on").touch()
        assert manager.getAnyResult(timeout=commands.PATIENCE_S)[2] == "done"
        manager.terminate()
        assert running.end().code == 0


def test_a_child_that_exits_is_told_with_its_exit_code(server: Server) -> None:
    server.task_manager.addTaskRequest("leave", (3,))
    with worker() as running:
        line = running.line(containing="ended:")
    assert "exit code 3 while running leave_0, attempt 1" in line


def test_it_works_on_when_nobody_reads_what_it_tells(server: Server) -> None:
    manager = server.task_manager
    reading, writing = os.pipe()
    command = [*commands.PYROTASK, "worker", "pi", "-n", "1", "--module", "some_tasks"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=writing, start_new_session=True
    ) as process:
        try:
            os.close(writing)
            os.close(reading)
            manager.addTaskRequest("leave", (3,))  # that would be told, and so would be the next child
            manager.addTaskRequest("square", (7,))
            assert manager.getResultWithTag("square", timeout=commands.PATIENCE_S)[1] == 49
            manager.terminate()
            assert process.wait(commands.PATIENCE_S) == 0
        finally:
            process.kill()


def test_ctrl_c_lets_it_finish_what_runs(server: Server, tmp_path: Path) -> None:
    manager, file = server.task_manager, tmp_path / "running"
    manager.addTaskRequest("report_and_wait", (str(file),))
    with worker("--json") as running:
        _wait_for(file)
        running.interrupt()
        running.event("draining")
        Path(f"{file}.go on").touch()
        assert manager.getAnyResult(timeout=commands.PATIENCE_S)[2] == "done"
        result = running.end()
    assert result.code == 0
    assert "Traceback" not in result.err


def test_a_second_ctrl_c_ends_it_at_once_and_the_task_is_free(server: Server, tmp_path: Path) -> None:
    manager, file = server.task_manager, tmp_path / "running"
    manager.addTaskRequest("report_and_wait", (str(file),))
    with worker("--json") as running:
        _wait_for(file)
        running.interrupt()
        running.event("draining")
        running.interrupt()
        result = running.end()
    assert result.code == 130
    assert "Traceback" not in result.err
    assert manager.getAnyTask(timeout=commands.PATIENCE_S)[0] == "report_and_wait_0"


def test_what_could_not_be_finished_and_handed_in_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROTASK_DRAIN_TIMEOUT_S", "0.1")
    file = tmp_path / "running"
    server.task_manager.addTaskRequest("report_and_wait", (str(file),))
    with worker() as running:
        _wait_for(file)
        running.interrupt()
        result = running.end()
    assert "told to end; not handed in, for others to run: report_and_wait_0;" in result.out
    assert "all is handed in" not in result.out


def test_it_ends_with_its_parent_when_it_is_tethered(server: Server) -> None:
    with worker("--tether", "--json") as running:
        running.event("registered")
        assert running.process.stdin is not None
        running.process.stdin.close()
        running.end()
        running.process.stdin = open(os.devnull, "w")  # noqa: SIM115, PTH123 - closed by Running


def test_each_event_is_a_document(server: Server) -> None:
    with worker("--json") as running:
        running.event("registered")
        server.task_manager.terminate()
        rest = running.end().out.splitlines()
    assert "ended" in [json.loads(line)["event"] for line in rest]


def _wait_for(file: Path) -> None:
    """Until the task runs, and has written this."""
    until(lambda: file.exists() and file.read_text(encoding="utf-8"))
