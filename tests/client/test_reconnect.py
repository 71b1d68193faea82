"""Trouble between a session and its broker: what is submitted is done once, and answered once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrotask import Session
from pyrotask.config import Settings
from pyrotask.errors import ConnectError, UnknownSession
from pyrotask.remote.server import Server
from tests.cable import Cable
from tests.client.serving import PATIENCE_S, HandWorker, ThreadWorker, serving


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    with Cable(server.port) as cable:
        yield cable


def test_a_cut_connection_is_noticed_by_the_delay_only(
    server: Server, cable: Cable, by_hand: HandWorker
) -> None:
    with Session(cable.address) as session:
        future = session.submit("sqrt", 4.0)
        (task,) = by_hand.take()
        cable.cut()
        by_hand.answer(task, 2.0)
        cable.mend()
        assert future.result(PATIENCE_S) == 2.0


def test_what_is_submitted_while_the_way_is_cut_arrives_later(
    server: Server, cable: Cable, worker: ThreadWorker
) -> None:
    with Session(cable.address) as session:
        cable.cut()
        future = session.submit("sqrt", 4.0)
        assert not future.done()
        cable.mend()
        assert future.result(PATIENCE_S) == 2.0


def test_cut_again_and_again_each_task_runs_once_and_is_answered_once(server: Server, cable: Cable) -> None:
    runs: Counter[int] = Counter()
    answers: Counter[int] = Counter()

    def note(index: int) -> int:
        runs[index] += 1
        return index

    with ThreadWorker(server.address, {"note": note}, at_once=7), Session(cable.address) as session:
        for index in range(3000):
            session.submit("note", index).add_done_callback(lambda future: answers.update([future.result()]))
            if index % 300 == 0:
                cable.cut()
                cable.mend()
        assert session.wait(PATIENCE_S)
    assert runs == answers == Counter(range(3000))


def test_a_broker_that_stays_away_fails_what_is_pending(server: Server, cable: Cable) -> None:
    with Session(cable.address, settings=Settings(reconnect_timeout_s=0.1)) as session:
        future = session.submit("sqrt", 4.0)
        session.flush()
        cable.cut()
        assert isinstance(future.exception(PATIENCE_S), ConnectError)
        with pytest.raises(ConnectError, match="gave up after 0.1 s"):
            session.submit("sqrt", 4.0)


def test_another_broker_in_its_place_fails_what_is_pending() -> None:
    with serving() as server:
        session = Session(server.address)
        future = session.submit("sqrt", 4.0)
        session.flush()
        port = server.port
    with serving(port=port):
        error = future.exception(PATIENCE_S)
    assert isinstance(error, UnknownSession)
    assert "submit it again" in str(error)
    session.close()


def test_a_broker_that_comes_back_with_its_journal_goes_on(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with Server(label="first", name_server="off", connection_file=False, journal=journal) as server:
        session = Session(server.address)
        futures = [session.submit("sqrt", float(index)) for index in range(100)]
        session.flush()
        port = server.port
    with (
        Server(label="first", port=port, name_server="off", connection_file=False, journal=journal) as server,
        ThreadWorker(server.address, {"sqrt": math.sqrt}),
    ):
        assert [future.result(PATIENCE_S) for future in futures] == [math.sqrt(n) for n in range(100)]
        session.close()


def test_a_close_does_not_wait_for_a_broker_that_is_away(server: Server, cable: Cable) -> None:
    session = Session(cable.address)
    future = session.submit("sqrt", 4.0)
    session.flush()
    cable.cut()
    session.close()
    assert future.cancelled()


def test_who_has_cancelled_all_does_not_wait_for_a_broker_that_is_away() -> None:
    with serving() as server, Session(server.address) as session:
        futures = [session.submit("sqrt", number) for number in range(3)]
        assert session.flush(PATIENCE_S)
        server.stop()
        assert not session.wait(0, confirmed=False)
        for future in futures:
            future.cancel()
        assert session.wait(PATIENCE_S, confirmed=False)
        assert not session.wait(0)
