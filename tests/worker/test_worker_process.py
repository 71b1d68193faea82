"""``python -m pyrotask.worker``: signals, and that nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.nodes import PATIENCE_S, Broker, Rendezvous, WorkerProcess, closing_all, wait_until_gone

pytestmark = pytest.mark.slow  # real processes, and real silences

TETHERED_PARENT = """
import subprocess, sys, time
command = [sys.executable, "-m", "pyrotask.worker", *sys.argv[1:]]
process = subprocess.Popen(command, stdin=subprocess.PIPE)
print("supervisor", process.pid, sep="\\t", flush=True)
time.sleep(600)
"""


@pytest.fixture
def worker(broker: Broker, tasks: Path) -> Iterator[WorkerProcess]:
    with closing_all() as closing:
        yield closing(WorkerProcess(broker.address, str(tasks), count=2))


def test_a_module_is_found_in_the_working_directory(
    broker: Broker, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tasks.parent)
    with closing_all() as closing:
        closing(WorkerProcess(broker.address, tasks.stem)).wait_until_ready()


def test_sigterm_drains(worker: WorkerProcess, broker: Broker, rendezvous: Rendezvous) -> None:
    worker.wait_until_ready(2)
    broker.manager.addTaskRequest("meet", (rendezvous.port,))
    meeting = rendezvous.meet()
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for("draining")
    meeting.let_go()
    assert worker.end() == (0, "")
    assert broker.result() == meeting.pid


def test_a_second_sigterm_gives_back_what_runs(
    worker: WorkerProcess, broker: Broker, rendezvous: Rendezvous
) -> None:
    worker.wait_until_ready(2)
    task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
    meeting = rendezvous.meet()
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for("draining")
    asked_at = time.monotonic()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end() == (0, "")
    print(f"\na second SIGTERM ends a worker in {(time.monotonic() - asked_at) * 1e3:.0f} ms")
    assert (broker.state_of(task), broker.task(task).trouble) == ("waiting", None)
    assert wait_until_gone([meeting.pid]) == []


def test_no_child_outlives_a_killed_supervisor_not_even_one_that_holds_the_gil(
    worker: WorkerProcess, broker: Broker, rendezvous: Rendezvous
) -> None:
    children = worker.wait_until_ready(2)
    broker.manager.addTaskRequest("hold_gil", (rendezvous.port, 600))
    rendezvous.meet()
    killed_at = time.monotonic()
    worker.process.kill()
    assert wait_until_gone(children) == []
    print(
        f"\nthe children of a killed supervisor were gone after {(time.monotonic() - killed_at) * 1e3:.0f} ms"
    )


def test_the_task_of_a_killed_node_is_back(
    worker: WorkerProcess, broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with closing_all() as closing:
        worker.wait_until_ready(2)
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        rendezvous.meet()
        closing(WorkerProcess(broker.address, str(tasks))).wait_until_ready()
        killed_at = time.monotonic()
        worker.process.kill()
        meeting = rendezvous.meet()
        print(f"\nthe task of a killed node runs again after {time.monotonic() - killed_at:.2f} s")
        meeting.let_go()
        assert broker.result() == meeting.pid


def test_nothing_outlives_the_killed_parent_of_a_tethered_supervisor(broker: Broker, tasks: Path) -> None:
    command = [sys.executable, "-c", TETHERED_PARENT, broker.address, "-n", "2", "--tether", "--events"]
    parent = subprocess.Popen([*command, "--module", str(tasks)], stdout=subprocess.PIPE, text=True)
    pids = []
    try:
        assert parent.stdout is not None
        for line in parent.stdout:
            kind, pid, *_ = line.split("\t")
            if kind in ("supervisor", "started"):
                pids.append(int(pid))
            if len(pids) == 3:
                break
    finally:
        parent.kill()
        parent.communicate()
    assert len(pids) == 3
    assert wait_until_gone(pids) == []


def test_a_missing_module_is_told_with_a_bad_exit_code(broker: Broker) -> None:
    with closing_all() as closing:
        code, errors = closing(WorkerProcess(broker.address, "no_such_module")).end()
    assert code == 1
    assert "module 'no_such_module' was not found. Looked in" in errors


def test_ctrl_c_in_a_terminal_reaches_the_supervisor_only(
    worker: WorkerProcess, broker: Broker, rendezvous: Rendezvous
) -> None:
    worker.wait_until_ready(2)
    broker.manager.addTaskRequest("meet", (rendezvous.port,))
    meeting = rendezvous.meet()
    assert os.getpgid(meeting.pid) != os.getpgid(worker.process.pid)
    worker.process.send_signal(signal.SIGINT)
    worker.wait_for("draining")
    meeting.let_go()
    assert worker.end() == (0, "")
    assert broker.manager.getAnyResult(timeout=PATIENCE_S)[2] == meeting.pid
