"""Hundreds of clients that wait at once."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection

import psutil
import pytest

from pyrotask.remote.server import Server
from tests.figures import Figure
from tests.remote.serving import RawClient, connected, parked, serving
from tests.waiting import until

MANY = 500


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


def test_a_waiting_client_costs_kilobytes_and_no_thread(figure: Figure) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    with ExitStack() as stack:
        stack.callback(process.join)
        stack.callback(ours.send, "stop")
        there = type("There", (), dict(zip(("host", "port", "uri"), ours.recv(), strict=True)))
        stack.enter_context(RawClient(there)).answer("numberOfActiveProcesses")  # type: ignore[arg-type]
        about = psutil.Process(process.pid)
        memory, threads = about.memory_info().rss, about.num_threads()
        for _ in range(MANY):
            stack.enter_context(RawClient(there)).call("getAnyTask")  # type: ignore[arg-type]

        def are_parked() -> bool:
            ours.send("parked")
            return bool(ours.recv() == MANY)

        until(are_parked)
        cost = (about.memory_info().rss - memory) / MANY
        figure(
            f"{MANY} waiting clients: {cost:,.0f} bytes each, {about.num_threads() - threads} threads more"
        )
        assert about.num_threads() <= threads + 1  # the main thread's hand has started meanwhile
        assert cost < 100_000  # ten times what it is


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
