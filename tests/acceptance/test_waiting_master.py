"""A master that waits is told why, and gets what was put in."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

import pyrotask
from pyrotask import Server
from pyrotask.config import Settings
from pyrotask.remote.proxy import TaskManagerProxy
from pyrotask.taskmanager import TaskManager
from tests.remote.serving import in_thread
from tests.waiting import until

EXPLAIN_AFTER_S = 0.1
WHY = "1 task tagged sqrt waits; no worker is registered"

Master = TaskManager | TaskManagerProxy


@pytest.fixture
def server() -> Iterator[Server]:
    settings = Settings.load(explain_after_s=EXPLAIN_AFTER_S)
    with Server(label="a job", settings=settings, name_server="off", connection_file=False) as server:
        yield server


@pytest.fixture(params=["in process", "over a proxy"])
def master(request: pytest.FixtureRequest, server: Server) -> Iterator[Master]:
    if request.param == "in process":
        yield server.task_manager
    else:
        with pyrotask.connect(server.address, server.settings) as proxy:
            yield proxy


def answer_once_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Answer the task some time after it was said why it waits: it could be said again."""
    until(lambda: WHY in caplog.text)
    time.sleep(3 * EXPLAIN_AFTER_S)
    task, _, _ = server.task_manager.getAnyTask()
    server.task_manager.storeResult(task, 1.4)


def test_a_waiting_master_is_told_why_once(
    server: Server, master: Master, caplog: pytest.LogCaptureFixture
) -> None:
    master.addTaskRequest("sqrt", (2.0,))
    with caplog.at_level(logging.WARNING):
        answered = in_thread(lambda: answer_once_told(server, caplog))
        assert master.getAnyResult() == ("sqrt_0", "sqrt", 1.4)
    answered()
    assert caplog.text.count(WHY) == 1


def test_a_wait_with_a_tag_is_explained_too(
    server: Server, master: Master, caplog: pytest.LogCaptureFixture
) -> None:
    master.addTaskRequest("sqrt", (2.0,))
    with caplog.at_level(logging.WARNING):
        answered = in_thread(lambda: answer_once_told(server, caplog))
        assert master.getResultWithTag("sqrt") == ("sqrt_0", 1.4)
    answered()
    assert WHY in caplog.text


def test_a_short_wait_is_not_explained(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    master.addTaskRequest("sqrt", (2.0,))
    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError):
        master.getAnyResult(timeout=0.05)
    assert caplog.text == ""


def test_one_can_ask_why_at_any_time(master: Master) -> None:
    assert master.explain() == []
    master.addTaskRequest("sqrt", (2.0,))
    assert master.explain() == [WHY]


def test_bytes_come_back_as_bytes(master: Master) -> None:
    master.storeData(picture=b"\x00\xff")
    assert master.retrieveData("picture") == b"\x00\xff"
    master.addTaskRequest("keep", (b"abc",))
    task, _, parameters = master.getAnyTask()
    master.storeResult(task, parameters)
    assert master.getAnyResult()[2] == (b"abc",)
