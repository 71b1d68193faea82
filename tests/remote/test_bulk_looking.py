"""The bulk calls that look at tasks and sessions."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from pyrotask.core.model import Limits
from pyrotask.engine import Engine
from pyrotask.errors import UnknownTask
from tests.remote.bulk_calls import ERROR, OTHER_VALUE, Client, Worker, collect, submit

ANSWER = ["value", OTHER_VALUE]


def peek(client: Client, which: dict[str, Any], *more: Any) -> list[Any]:
    return list(client.call("peek", which, *more)["answers"])


def test_a_task_is_explained(client: Client, session: int) -> None:
    (task,) = submit(client, session)
    told = client.call("explain", task)

    assert told == {
        "task": client.call("task", task),
        "why": ["1 task tagged a waits; no worker is registered"],
    }
    assert msgpack.unpackb(msgpack.packb(told)) == told


def test_a_task_that_is_gone_cannot_be_explained(client: Client) -> None:
    with pytest.raises(UnknownTask, match="never given out"):
        client.call("explain", 9)


def test_of_a_number_that_a_restart_may_have_skipped_it_is_not_said_that_there_was_a_task(
    client: Client, engine: Engine
) -> None:
    state = engine.machine.state
    state.first_task = state.next_task = 10_000  # as a restart does
    with pytest.raises(UnknownTask, match="or never given out, since a restart"):
        client.call("explain", 9)


def test_answers_can_be_looked_at_and_are_still_collected(
    client: Client,
    session: int,
    worker: Worker,
) -> None:
    submit(client, session, count=2)
    worker.succeed()

    for _ in range(2):
        assert peek(client, {"session": session}) == [[0, "a", None, ANSWER], [1, "a", None, ANSWER]]
    assert len(collect(client, session)) == 2


def test_what_is_unfinished_has_no_answer_to_look_at(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, count=2)
    worker.take(1)

    assert peek(client, {}) == []
    assert peek(client, {"states": ["waiting"]}) == []


def test_failures_are_answers_too(client: Client, session: int, worker: Worker) -> None:
    submit(client, session)
    worker.fail()

    assert peek(client, {"states": ["failed"]}) == [
        [0, "a", None, ["error", ERROR, "Traceback", ["ValueError"], "bad luck"]]
    ]


def test_a_value_is_found_by_its_key(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, 1, key="k")
    submit(client, session, 2, key="other")
    worker.succeed()
    collect(client, session)
    collect(client, session, taken_over=2)

    assert peek(client, {"keys": ["k", "of nobody"]}) == [[0, "a", "k", ANSWER]]
    assert peek(client, {"keys": ["k", "other"], "tasks": [1]}) == [[1, "a", "other", ANSWER]]


def test_what_a_session_has_taken_over_is_not_among_its_answers(
    client: Client,
    session: int,
    worker: Worker,
) -> None:
    submit(client, session, key="k")
    worker.succeed()
    collect(client, session)
    assert len(peek(client, {"session": session})) == 1
    collect(client, session, taken_over=1)

    assert peek(client, {"session": session}) == []


def test_answers_come_page_by_page(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, count=3)
    worker.succeed()
    first = client.call("peek", {}, 2)

    assert ([task for task, *_ in first["answers"]], first["next"]) == ([0, 1], 1)
    assert [task for task, *_ in peek(client, {}, 2, first["next"])] == [2]


def test_a_page_of_answers_has_bounded_size(
    engine: Engine, client: Client, session: int, worker: Worker
) -> None:
    submit(client, session, count=3)
    worker.succeed()
    engine.machine.limits = Limits(max_reply_bytes=1)
    pages, after = [], None
    while True:
        page = client.call("peek", {}, 100, after)
        pages.append([task for task, *_ in page["answers"]])
        after = page["next"]
        if after is None:
            break

    assert pages == [[0], [1], [2]]


def test_keys_must_be_texts(client: Client) -> None:
    with pytest.raises(TypeError, match="a key must be a str"):
        client.call("peek", {"keys": [1]})


def test_sessions_are_told_of(client: Client, session: int, worker: Worker) -> None:
    other = client.call("open_session", "other")
    submit(client, session, count=2)
    worker.take(1)
    submit(client, other)
    client.call("cancel", {"session": other})
    status = client.call("status")

    assert status["sessions"] == client.call("sessions")
    assert status["sessions_open"] == 2
    told = {one["name"]: (one["id"], one["unfinished"], one["answers"]) for one in status["sessions"]}
    assert told == {"mine": (session, 2, 0), "other": (other, 0, 1)}
    assert msgpack.unpackb(msgpack.packb(status)) == status


def test_a_session_is_found_by_its_name(client: Client, session: int) -> None:
    client.call("open_session", "other")

    assert [one["id"] for one in client.call("sessions", "mine")] == [session]
    assert client.call("sessions", "of nobody") == []
