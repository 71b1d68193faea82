"""Large values of a served broker with a journal: they are read when they leave, and hold up nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from Pyro5 import protocol
from Pyro5.api import BatchProxy

from pyrotask.config import Settings
from pyrotask.journal.blocks import blocks_of
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.server import Server
from pyrotask.remote.turn import READ_AT_ONCE_BYTES
from tests.remote.serving import RawClient, in_thread, plain_proxy, serving
from tests.waiting import until

LARGE = ["pickle", [b"small", b"x" * (2 * READ_AT_ONCE_BYTES)]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(
        label="test",
        journal=tmp_path / "journal",
        name_server="off",
        connection_file=False,
        settings=Settings(journal_recent_bytes=0),
    ) as server:
        yield server


def bytes_in_memory(server: Server) -> int:
    blocks = blocks_of(server.task_manager.broker.engine.machine.state)
    return sum(block.nbytes for block in blocks if block.is_in_memory)


def lease(worker: BulkProxy, process: int) -> list[list[object]]:
    tasks: list[list[object]] = worker.call("exchange", process, [], None, 1, 0)["tasks"]
    return tasks


def test_large_values_of_our_own_clients_come_and_go_through_files(server: Server) -> None:
    with BulkProxy(server.address) as client, BulkProxy(server.address) as worker:
        session = client.call("open_session", "mine")
        client.call("submit", session, 1, 0, [["a", LARGE]])
        assert bytes_in_memory(server) == 0
        process = worker.call("register_worker", None, None, "", None)
        ((task, _, attempt, payload, *_),) = lease(worker, process)
        assert payload == LARGE
        worker.call("exchange", process, [[task, attempt, "value", LARGE]], None, 0, 0)
        assert bytes_in_memory(server) == 0

        deliveries = client.call("collect", session, 0, 10, 30)["deliveries"]
        assert deliveries == [[1, task, "a", ["value", LARGE]]]


def test_large_values_of_plain_proxies_come_and_go_through_files(server: Server) -> None:
    value = "x" * len(LARGE[1][1])
    with plain_proxy(server) as proxy:
        proxy.addTaskRequest("a", [value])
        task_id, tag, parameters = proxy.getAnyTask()
        proxy.storeResult(task_id, value)
        assert bytes_in_memory(server) == 0
        assert (tag, parameters, proxy.getAnyResult()[2]) == ("a", [value], value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there is no slow file to be had here")
def test_a_slow_disk_holds_up_only_those_who_want_what_is_on_it(server: Server, tmp_path: Path) -> None:
    with BulkProxy(server.address) as client, BulkProxy(server.address) as worker:
        session = client.call("open_session", "mine")
        client.call("submit", session, 1, 0, [["a", LARGE]])
        process = worker.call("register_worker", None, None, "", None)
        (file,) = (tmp_path / "journal").glob("*.blocks")
        file.rename(tmp_path / "elsewhere")
        os.mkfifo(file)  # nobody can read from it before somebody writes to it
        leased = in_thread(lambda: lease(worker, process))
        until(lambda: client.call("status")["tasks"]["running"] == {"a": 1})  # the loop is not held up

        (tmp_path / "elsewhere").rename(tmp_path / "back")
        with file.open("wb"):  # now it can be read, or rather, cannot: what was handed out is taken back
            file.unlink()
            (tmp_path / "back").rename(file)
        assert isinstance(leased(), OSError)
        ((_, _, _, payload, *_),) = lease(worker, process)
        assert payload == LARGE


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there is no slow file to be had here")
def test_a_batch_with_large_values_holds_up_only_who_wants_it(server: Server, tmp_path: Path) -> None:
    value = "x" * len(LARGE[1][1])
    with RawClient(server) as client, plain_proxy(server) as other:
        task_id = other.addTaskRequest("a", value)
        (file,) = (tmp_path / "journal").glob("*.blocks")
        file.rename(tmp_path / "elsewhere")
        os.mkfifo(file)
        client.call("<batch>", *[["getAnyTask", [], {}]] * 2, flags=protocol.FLAGS_BATCH)
        until(lambda: other.numberOfTasks()[1] == {"a": 1})  # the loop is not held up

        (tmp_path / "elsewhere").rename(tmp_path / "back")
        with file.open("wb"):
            file.unlink()
            (tmp_path / "back").rename(file)
        (error,) = client.receive()[1]
        assert isinstance(error.exception, OSError)
        assert other.getAnyTask() == (task_id, "a", value)


def test_a_batch_takes_no_more_than_one_message_holds_and_leaves_the_rest() -> None:
    value = "x" * 400_000
    with serving(settings=Settings(max_message_bytes=1 << 20)) as server, plain_proxy(server) as proxy:
        tasks = [(proxy.addTaskRequest("a", value), "a", value) for _ in range(4)]
        for wanted in (tasks[:2], tasks[2:]):
            batch = BatchProxy(proxy)
            for _ in range(3):
                batch.getAnyTask()
            results = batch()
            assert [next(results) for _ in wanted] == wanted
            with pytest.raises((ValueError, TimeoutError)):
                next(results)
        assert server.task_manager.numberOfTasks() == ({"a": 0}, {"a": 4}, {"a": 0})
