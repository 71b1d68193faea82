"""Sessions over real connections: replies that are lost, and a broker that comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyrotask.config import Settings
from pyrotask.errors import KeyConflict, Refused, SessionExpired
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from tests.remote.serving import in_thread, parked, serving
from tests.waiting import until

VALUE = ["plain", [b"\x01"]]


def run_all(server: Server) -> None:
    """Do what waits, as a worker."""
    with BulkProxy(server.address) as worker:
        process = worker.call("register_worker", None, None, "", None)
        tasks = worker.call("exchange", process, [], None, 100, 0)["tasks"]
        results = [[task, attempt, "value", payload] for task, _, attempt, payload, *_ in tasks]
        worker.call("exchange", process, results, None, 0, 0)


def test_a_client_that_comes_back_finds_its_answers() -> None:
    with serving() as server:
        with BulkProxy(server.address) as client:
            session = client.call("open_session", "mine")
            tasks = client.call("submit", session, 1, 0, [["a", VALUE], ["b", VALUE]])
            run_all(server)
            first = client.call("collect", session, 0, 1, 30)
        with BulkProxy(server.address) as client:
            assert client.call("open_session", "mine") == session
            assert client.call("submit", session, 1, 0, [["a", VALUE], ["b", VALUE]]) == tasks
            again = client.call("collect", session, 0, 10, 30)["deliveries"]

    assert again[:1] == first["deliveries"]
    assert [task for _, task, *_ in again] == tasks


def test_a_collect_that_waits_gets_what_is_finished_later() -> None:
    with serving() as server, BulkProxy(server.address) as client, BulkProxy(server.address) as waiting:
        session = client.call("open_session", "mine")
        collected = in_thread(lambda: waiting.call("collect", session, 0, 10, 30))
        until(lambda: parked(server) == 1)
        client.call("submit", session, 1, 0, [["a", VALUE]])
        run_all(server)

        assert collected() == {"deliveries": [[1, 0, "a", ["value", VALUE]]]}


def test_a_new_connection_takes_the_place_of_one_that_waits() -> None:
    with serving() as server, BulkProxy(server.address) as old, BulkProxy(server.address) as new:
        session = old.call("open_session", "mine")
        before = in_thread(lambda: old.call("collect", session, 0, 10, 30))
        until(lambda: parked(server) == 1)
        after = in_thread(lambda: new.call("collect", session, 0, 10, 30))

        assert isinstance(before(), Refused)
        with BulkProxy(server.address) as client:
            client.call("submit", session, 1, 0, [["a", VALUE]])
        run_all(server)
        assert len(after()["deliveries"]) == 1


def test_errors_of_sessions_arrive_as_themselves() -> None:
    with serving() as server, BulkProxy(server.address) as client:
        session = client.call("open_session", "mine")
        client.call("submit", session, 1, 0, [["a", VALUE, {"key": "k"}]])
        with pytest.raises(KeyConflict):
            client.call("submit", session, 2, 1, [["b", VALUE, {"key": "k"}]])
        client.call("close_session", session)
        with pytest.raises(SessionExpired):
            client.call("submit", session, 2, 1, [["a", VALUE]])


@contextmanager
def serving_from(journal: Path) -> Iterator[Server]:
    """One run of a broker that has a journal."""
    with (
        TaskManager(Settings(), journal=journal) as task_manager,
        Server(task_manager, "test", name_server="off", connection_file=False) as server,
    ):
        yield server


def test_the_next_run_of_a_broker_remembers_calls_and_deliveries(tmp_path: Path) -> None:
    with serving_from(tmp_path / "journal") as server, BulkProxy(server.address) as client:
        session = client.call("open_session", "mine")
        tasks = client.call("submit", session, 1, 0, [["a", VALUE]])
        run_all(server)
        first = client.call("collect", session, 0, 10, 30)
    with serving_from(tmp_path / "journal") as server, BulkProxy(server.address) as client:
        repeated = client.call("submit", session, 1, 0, [["a", VALUE]])
        again = client.call("collect", session, 0, 10, 30)
        waiting = client.call("status")["tasks"]["waiting"]

    assert (repeated, again) == (tasks, first)
    assert [task for _, task, *_ in again["deliveries"]] == tasks
    assert waiting == {"a": 0}


def test_no_number_is_given_out_again_by_the_next_run(tmp_path: Path) -> None:
    numbers = []
    for name in ("one", "two"):
        with serving_from(tmp_path / "journal") as server, BulkProxy(server.address) as client:
            session = client.call("open_session", name)
            numbers += client.call("submit", session, 1, 0, [["a", VALUE]])
            client.call("close_session", session)

    assert len(set(numbers)) == 2
