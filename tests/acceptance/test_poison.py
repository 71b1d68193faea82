"""A task that kills whoever runs it, among short ones that a worker takes in batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrotask import Session
from pyrotask.errors import WorkerCrashed
from pyrotask.remote.server import Server
from tests.worker.nodes import PATIENCE_S, TASKS, Node

INNOCENT = 63


@pytest.mark.slow
def test_a_poison_task_among_innocents_in_one_worker_ends_alone_as_failed(tmp_path: Path) -> None:
    module = tmp_path / "tasks.py"
    module.write_text(TASKS)
    with Server(label="poisoned", name_server="off", connection_file=False) as server:
        with Session(server.address) as session:
            innocent = [session.submit("sqrt", float(number)) for number in range(INNOCENT // 2)]
            poison = session.submit("exit", 7)
            innocent += [session.submit("sqrt", float(number)) for number in range(INNOCENT // 2, INNOCENT)]
            with Node(server.address, module, count=1):
                error = poison.exception(PATIENCE_S)
                answers = [future.result(PATIENCE_S) for future in innocent]
                session.wait()
        server.task_manager.terminate()

    assert isinstance(error, WorkerCrashed)
    assert "exit code 7" in str(error)
    assert answers == [number**0.5 for number in range(INNOCENT)]
