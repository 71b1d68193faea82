"""A session with a broker in its own process: the same promises, without a connection."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import pytest

from pyrotask import Session
from pyrotask.errors import BrokerBroken, SessionExpired, TaskManagerTermination
from pyrotask.remote.server import Server
from tests.client.serving import PATIENCE_S, ThreadWorker
from tests.waiting import until


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    session = Session(server.address, broker=server.task_manager.broker)
    yield session
    session.close()


def parked(server: Server) -> int:
    return cast("int", server.task_manager.broker.call(lambda m, _: len(m.result_wants)))


def test_values_and_exceptions_arrive(session: Session, server: Server) -> None:
    with ThreadWorker(server.address, {"sqrt": math.sqrt}):
        futures = [session.submit("sqrt", float(number)) for number in range(2000)]
        assert [future.result(PATIENCE_S) for future in futures] == [math.sqrt(n) for n in range(2000)]
        assert isinstance(session.submit("sqrt", -1.0).exception(PATIENCE_S), ValueError)


def test_what_is_refused_is_the_futures_exception(session: Session) -> None:
    assert "retries" in str(session.submit("sqrt", 1.0, retries=-1).exception(PATIENCE_S))


def test_a_close_does_not_wait_for_answers(session: Session, server: Server) -> None:
    future = session.submit("sqrt", 2.0)
    until(lambda: parked(server) == 1)
    session.close()
    assert future.cancelled()
    with pytest.raises(SessionExpired):
        session.submit("sqrt", 2.0)


def test_a_name_is_taken_up_again(server: Server) -> None:
    broker = server.task_manager.broker
    first = Session(server.address, "friday", broker=broker)
    first.submit("sqrt", 9.0)
    first.close()
    with (
        ThreadWorker(server.address, {"sqrt": math.sqrt}),
        Session(server.address, "friday", broker=broker) as second,
    ):
        assert [answer.result() for answer in second.results(PATIENCE_S)] == [3.0]


def test_termination_ends_what_waits(session: Session, server: Server) -> None:
    future = session.submit("sqrt", 2.0)
    until(lambda: parked(server) == 1)
    server.task_manager.terminate()
    assert isinstance(future.exception(PATIENCE_S), TaskManagerTermination)


def test_a_broker_that_breaks_ends_what_waits(session: Session, server: Server) -> None:
    future = session.submit("sqrt", 2.0)
    until(lambda: parked(server) == 1)
    server.task_manager.broker.engine._break_with(BrokerBroken("the disk is gone"))
    assert isinstance(future.exception(PATIENCE_S), BrokerBroken)
