"""A master that waits is told why, and gets what was put in."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import pyrotask
from pyrotask.config import Settings
from pyrotask.remote.proxy import TaskManagerProxy
from pyrotask.taskmanager import TaskManager

WHY = "1 task tagged sqrt waits; no worker is registered"

Master = TaskManager | TaskManagerProxy


@pytest.fixture(params=["in process", "over a proxy"])
def master(request: pytest.FixtureRequest) -> Iterator[Master]:
    settings = Settings.load(explain_after_s=0.1)
    server = pyrotask.Server(label="a job", settings=settings, name_server="off", connection_file=False)
    with server:
        if request.param == "in process":
            yield server.task_manager
        else:
            with pyrotask.connect(server.address, settings) as proxy:
                yield proxy


def test_a_waiting_master_is_told_why_once(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    master.addTaskRequest("sqrt", (2.0,))
    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError, match=r"within 0\.4 s"):
        master.getAnyResult(timeout=0.4)
    assert [record.getMessage() for record in caplog.records] == [WHY]


def test_a_wait_with_a_tag_is_explained_too(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    master.addTaskRequest("sqrt", (2.0,))
    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError):
        master.getResultWithTag("sqrt", 0.4)
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
