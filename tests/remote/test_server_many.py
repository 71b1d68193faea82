"""Hundreds of clients that wait at once."""

from __future__ import annotations

import multiprocessing
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest

from pyrotask.remote.server import Server
from tests.figures import Figure
from tests.remote.serving import LONG_S, RawClient, connected, in_thread, parked, serving
from tests.waiting import until

MANY = 500
TASKS = 10_000


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def waiting_clients(server: Server, stack: ExitStack, number: int = MANY) -> list[RawClient]:
    clients = [stack.enter_context(RawClient(server)) for _ in range(number)]
    for client in clients:
        client.call("getAnyTask")
    until(lambda: parked(server) == number)
    return clients


def serve(pipe: Connection) -> None:
    with serving() as server:
        pipe.send((server.host, server.port, server.uri))
        while pipe.recv() != "stop":
            pipe.send(parked(server))


class Elsewhere:
    """A server in a process of its own, and many clients that wait for its tasks."""

    def __init__(self, stack: ExitStack) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
        process.start()
        stack.callback(process.join)
        stack.callback(self._pipe.send, "stop")
        self.host, self.port, self.uri = self._pipe.recv()
        self._about = psutil.Process(process.pid)
        self.client(stack).answer("numberOfActiveProcesses")
        memory, threads = self._about.memory_info().rss, self._about.num_threads()
        self.clients = [self.client(stack) for _ in range(MANY)]
        for client in self.clients:
            client.call("getAnyTask")
        until(lambda: self._parked() == MANY)
        self.bytes_each = (self._about.memory_info().rss - memory) / MANY
        self.more_threads = self._about.num_threads() - threads

    def client(self, stack: ExitStack) -> RawClient:
        return stack.enter_context(RawClient(self))

    def _parked(self) -> int:
        self._pipe.send("parked")
        return int(self._pipe.recv())


@pytest.mark.slow
def test_a_waiting_client_costs_kilobytes_and_no_thread(figure: Figure) -> None:
    with ExitStack() as stack:
        there = Elsewhere(stack)
    figure(f"{MANY} waiting clients: {there.bytes_each:,.0f} bytes each, {there.more_threads} threads more")
    assert there.more_threads <= 1  # the main thread's hand has started meanwhile
    assert there.bytes_each < 10_000


@pytest.mark.slow
def test_very_many_tasks_are_each_answered_once_by_many_that_waited(figure: Figure) -> None:
    with ExitStack() as stack:
        there = Elsewhere(stack)
        master = there.client(stack)

        def submit_and_collect() -> list[Any]:
            for number in range(TASKS):
                master.answer("addTaskRequest", "t", number)
            return [master.answer("getAnyResult") for _ in range(TASKS)]

        began = time.perf_counter()
        answers = in_thread(submit_and_collect)
        work(there.clients, TASKS)
        assert sorted(result for _, _, result in answers()) == list(range(TASKS))
        took = time.perf_counter() - began
    figure(f"{TASKS:,} tasks with {MANY} waiting plain clients: {TASKS / took:,.0f} tasks/s")
    assert there.more_threads <= 1
    assert there.bytes_each < 10_000


def work(clients: list[RawClient], tasks: int) -> None:
    """Each client hands in its task's parameter as the result, and asks for the next one."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
        while tasks:
            for key, _ in selector.select(LONG_S):
                client = key.data
                _, (task_id, _, parameter) = client.receive()
                assert client.answer("storeResult", task_id, parameter) is None
                client.call("getAnyTask")
                tasks -= 1


def test_termination_frees_all_at_once(server: Server, figure: Figure) -> None:
    with ExitStack() as stack:
        clients = waiting_clients(server, stack)
        began = time.perf_counter()
        server.task_manager.terminate()
        for client in clients:
            assert client.receive()[1].remote_type == "TaskManagerTermination"
        figure(f"{MANY} waiting clients were told within {time.perf_counter() - began:.3f} s")


def test_a_task_wakes_one_client_and_it_is_the_first(server: Server) -> None:
    with ExitStack() as stack:
        clients = waiting_clients(server, stack)
        task = server.task_manager.addTaskRequest("t", 1)
        assert clients[0].receive()[1] == (task, "t", 1)
        assert parked(server) == MANY - 1


def test_no_task_goes_to_one_of_many_that_were_killed(server: Server, figure: Figure) -> None:
    with ExitStack() as stack:
        clients = waiting_clients(server, stack)
        last = stack.enter_context(RawClient(server))
        last.call("getAnyTask")
        until(lambda: parked(server) == MANY + 1)
        began = time.perf_counter()
        for client in clients:
            client.close()
        task = server.task_manager.addTaskRequest("t", 1)
        assert last.receive()[1] == (task, "t", 1)
        until(lambda: connected(server) == 1)
        figure(f"{MANY} killed clients were noticed within {time.perf_counter() - began:.3f} s")


def test_a_stop_with_many_waiting_is_quick(server: Server, figure: Figure) -> None:
    with ExitStack() as stack:
        clients = waiting_clients(server, stack)
        before = threading.active_count()
        began = time.perf_counter()
        server.stop()
        took = time.perf_counter() - began
        figure(f"stopped with {MANY} waiting clients within {took:.3f} s")
        assert took < 20  # ten times what is promised
        assert threading.active_count() < before
        assert clients[0].is_closed_by_server()
