"""Two masters at one task manager, both greedy: each gets all its own, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.server import Server
from tests.remote.serving import in_thread, plain_proxy, serving

EACH = 100
"""Tasks of each of the two; also in one message."""


def work_off(server: Server, tasks: int) -> None:
    """Do so many tasks, as a worker: the answer is what came."""
    with BulkProxy(server.address) as worker:
        process = worker.call("register_worker", None, None, "", None)
        results: list[Any] = []
        done = 0
        while done < tasks:
            reply = worker.call("exchange", process, results, None, 7, 30)
            results = [[task, attempt, "value", value] for task, _, attempt, value, *_ in reply["tasks"]]
            done += len(results)
        worker.call("exchange", process, results, None, 0, 0)


def take_with_a_session(server: Server) -> list[int]:
    """Submit, and take whatever comes, as a client of our own."""
    with BulkProxy(server.address) as client:
        session = client.call("open_session", "mine")
        items = [["same tag", ["plain", [bytes([number])]]] for number in range(EACH)]
        client.call("submit", session, 1, 0, items)
        taken: list[int] = []
        newest = 0
        while len(taken) < EACH:
            for delivery, _, _, outcome in client.call("collect", session, newest, 9, 30)["deliveries"]:
                newest = delivery
                taken.append(outcome[1][1][0][0])
        assert client.call("collect", session, newest, 9, 0) == {"deliveries": []}
        return taken


def take_with_a_plain_proxy(server: Server) -> list[str]:
    """The same, as a master that knows the reference API only."""
    with plain_proxy(server) as master:
        for number in range(EACH):
            master.addTaskRequest("same tag", f"plain {number}")
        taken = [master.getAnyResult(30)[2] for _ in range(EACH)]
        with pytest.raises(TimeoutError):
            master.getAnyResult(0)
        return taken


def test_a_named_session_and_a_plain_master_get_each_their_own_and_nothing_else() -> None:
    with serving() as server:
        ours = in_thread(lambda: take_with_a_session(server))
        plain = in_thread(lambda: take_with_a_plain_proxy(server))
        worker = in_thread(lambda: work_off(server, 2 * EACH))

        assert sorted(ours()) == list(range(EACH))
        assert sorted(plain()) == sorted(f"plain {number}" for number in range(EACH))
        assert worker() is None
