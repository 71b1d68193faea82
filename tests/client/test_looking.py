"""Whether a future is running: what the broker says, asked seldom, and never waited for long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyrotask import Session
from pyrotask.client import looking
from pyrotask.client.looking import Looking
from pyrotask.client.near import NearLink
from pyrotask.errors import ConnectError
from pyrotask.remote.server import Server
from tests.client.serving import PATIENCE_S, HandWorker
from tests.waiting import until


class CountingLink(NearLink):
    """It counts what is asked."""

    asked = 0

    def call_once(self, method: str, *args: object, timeout_s: float) -> Any:
        self.asked += 1
        return super().call_once(method, *args, timeout_s=timeout_s)


@pytest.fixture
def link(server: Server) -> CountingLink:
    return CountingLink(server.task_manager.broker)


@pytest.fixture
def asking(session: Session, link: CountingLink) -> Iterator[Looking]:
    asking = Looking(lambda: link, session.number)
    yield asking
    asking.close()


def test_a_future_is_running_while_a_worker_has_its_task(session: Session, by_hand: HandWorker) -> None:
    future = session.submit("sqrt", 2.0)
    (task,) = by_hand.take(1)
    until(future.running)
    assert not future.done()

    by_hand.answer(task, 1.4)
    assert future.result(PATIENCE_S) == 1.4
    assert not future.running()


def test_a_task_that_its_worker_gives_back_waits_again(session: Session, by_hand: HandWorker) -> None:
    future = session.submit("sqrt", 2.0)
    (task,) = by_hand.take(1)
    until(future.running)
    by_hand.hand_in([task[0], task[2], "release", "drained"])
    until(lambda: not future.running())


def test_what_waits_is_not_running(session: Session) -> None:
    future = session.submit("sqrt", 2.0)
    assert session.flush(PATIENCE_S)
    assert not future.running()


def test_what_runs_can_be_cancelled_and_runs_no_more(session: Session, by_hand: HandWorker) -> None:
    future = session.submit("sqrt", 2.0)
    by_hand.take(1)
    until(future.running)
    assert future.cancel()
    assert not future.running()


def test_after_the_close_nothing_runs(server: Server, by_hand: HandWorker) -> None:
    session = Session(server.address, "friday")
    future = session.submit("sqrt", 2.0)
    by_hand.take(1)
    until(future.running)
    session.close()
    assert not future.running()


def test_a_loop_over_many_futures_asks_once(
    session: Session, asking: Looking, link: CountingLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "FRESH_S", PATIENCE_S)
    assert not any(asking.is_running(number) for number in range(looking.AT_ONCE))
    assert link.asked == 1


def test_an_answer_does_not_hold_for_long(
    session: Session, asking: Looking, link: CountingLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "FRESH_S", -1.0)
    assert not asking.is_running(1)
    assert not asking.is_running(1)
    assert link.asked == 2


def test_a_broker_that_does_not_answer_is_left_alone_for_a_while() -> None:
    tries = 0

    def new_link() -> NearLink:
        nonlocal tries
        tries += 1
        raise ConnectError("it is away")

    asking = Looking(new_link, 1)
    assert not asking.is_running(1)
    assert not asking.is_running(2)
    assert tries == 1
