"""A lone submit is sent by the thread that submits it; what goes wrong there, the sender puts right."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from pyrotask import Session
from pyrotask.client.bell import Bell
from pyrotask.client.future import TaskFuture
from pyrotask.client.state import MOST_DIRECT_BYTES, State
from pyrotask.config import Settings
from pyrotask.core.model import Payload
from pyrotask.errors import ConnectError
from pyrotask.remote.server import Server
from tests.cable import Cable
from tests.client.serving import PATIENCE_S, HandWorker, ThreadWorker, serving
from tests.waiting import until

# --- what goes directly ---------------------------------------------------------------------------------


@pytest.fixture
def state() -> Iterator[State]:
    """Of a session whose sender waits for work."""
    state = State(Settings())
    state.bell.open()
    assert state.next_work(10, 1000) is None
    yield state
    state.bell.close()


@pytest.fixture
def sent(state: State) -> list[tuple[TaskFuture, int]]:
    """What was sent directly, and by which thread."""
    sent: list[tuple[TaskFuture, int]] = []
    state.send_directly = lambda future: sent.append((future, threading.get_ident()))
    return sent


def test_a_lone_submit_is_sent_by_who_submits_it(state: State, sent: list[tuple[TaskFuture, int]]) -> None:
    future = state.add(TaskFuture("sqrt"))

    assert sent == [(future, threading.get_ident())]
    assert state.pending() == [future]


def test_what_is_submitted_before_its_reply_waits_for_the_sender(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    state.add(TaskFuture("sqrt"))
    others = [state.add(TaskFuture("sqrt")) for _ in range(3)]

    assert len(sent) == 1
    assert state.next_work(10, 1000) is None
    state.sent()
    work = state.next_work(10, 1000)
    assert work is not None
    assert work.submits == others


def test_while_the_sender_is_at_work_nothing_goes_past_it(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    state.store("label", Payload("plain", (b"x",)))
    state.add(TaskFuture("sqrt"))

    assert not sent


def test_what_is_large_or_needs_others_goes_by_the_sender(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    state.add(TaskFuture("sqrt", size=MOST_DIRECT_BYTES + 1))
    assert state.next_work(10, 1000) is not None
    state.sent()
    assert state.next_work(10, 1000) is None
    needs = TaskFuture("sqrt")
    needs.inputs = (1,)
    state.add(needs)

    assert not sent


def test_a_ctrl_c_while_it_is_sent_wakes_the_sender(state: State) -> None:
    def interrupted(_future: TaskFuture) -> None:
        raise KeyboardInterrupt

    state.send_directly = interrupted
    with pytest.raises(KeyboardInterrupt):
        state.add(future := TaskFuture("sqrt"))

    state.bell.wait(-1, PATIENCE_S)
    assert state.direct is future


# --- what goes wrong ------------------------------------------------------------------------------------


class Noting(ThreadWorker):
    """A worker that counts how often each task ran."""

    def __init__(self, where: str) -> None:
        self.runs: Counter[int] = Counter()
        super().__init__(where, {"note": self._note})

    def _note(self, number: int) -> int:
        self.runs[number] += 1
        return number


@pytest.fixture
def noting(server: Server) -> Iterator[Noting]:
    with Noting(server.address) as worker:
        yield worker


def wait_until_idle(session: Session) -> None:
    """Until the next submit goes directly."""
    until(lambda: session._state._is_idle)


@pytest.mark.parametrize("trouble", [ConnectError, TypeError, KeyboardInterrupt])
@pytest.mark.parametrize("when", ["before", "after"])
def test_trouble_in_the_submitting_thread_is_put_right_and_the_task_is_done_once(
    when: str, trouble: type[BaseException], server: Server, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(server.address) as session:
        assert session.submit("note", 0).result(PATIENCE_S) == 0
        wait_until_idle(session)
        begin = session._link.begin

        def in_trouble(method: str, *args: object) -> None:
            if when == "after":
                begin(method, *args)
            raise trouble("now")

        monkeypatch.setattr(session._link, "begin", in_trouble)
        if trouble is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                session.submit("note", 1)
        else:
            assert session.submit("note", 1).result(PATIENCE_S) == 1
        monkeypatch.undo()
        assert session.wait(PATIENCE_S)
        assert session.submit("note", 2).result(PATIENCE_S) == 2
    assert noting.runs == {0: 1, 1: 1, 2: 1}


def test_lone_submits_over_a_cable_that_is_cut_again_and_again_are_each_done_once(
    server: Server, noting: Noting
) -> None:
    with Cable(server.port) as cable, Session(cable.address) as session:
        for number in range(60):
            future = session.submit("note", number)
            if number % 3 == 0:  # its call, or the reply to it, may be on the way
                cable.cut()
                cable.mend()
            assert future.result(PATIENCE_S) == number
    assert noting.runs == dict.fromkeys(range(60), 1)


def test_a_submit_after_a_break_that_nobody_has_noticed_arrives(server: Server, noting: Noting) -> None:
    with Cable(server.port) as cable, Session(cable.address) as session:
        session.submit("note", 0).result(PATIENCE_S)
        wait_until_idle(session)
        cable.cut()
        future = session.submit("note", 1)
        cable.mend()
        assert future.result(PATIENCE_S) == 1
    assert noting.runs[1] == 1


def test_a_call_that_gets_lost_without_a_word_is_repeated(
    server: Server, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrotask.client.sender.LOOK_S", 0.05)
    monkeypatch.setattr("pyrotask.client.sender.CALL_TIMEOUT_S", 0.1)
    with Session(server.address) as session:
        session.submit("note", 0).result(PATIENCE_S)
        wait_until_idle(session)
        monkeypatch.setattr(session._link, "begin", lambda *_call: None)  # as if a network had swallowed it
        assert session.submit("note", 1).result(PATIENCE_S) == 1
    assert noting.runs[1] == 1


def test_what_the_broker_refuses_is_the_futures_error(session: Session, noting: Noting) -> None:
    session.submit("note", 0).result(PATIENCE_S)
    wait_until_idle(session)
    refused = session.submit_payload("note", Payload("plain", (b"x",)), {"priority": "high"})

    assert isinstance(refused.exception(PATIENCE_S), ValueError)
    assert session.submit("note", 1).result(PATIENCE_S) == 1


def test_a_full_broker_delays_a_lone_submit() -> None:
    with (
        serving(Settings(max_waiting=1)) as server,
        Session(server.address) as session,
        HandWorker(server.address) as worker,
    ):
        first = session.submit("a")
        assert session.flush(PATIENCE_S)
        wait_until_idle(session)
        second = session.submit("b")
        for future in (first, second):
            (task,) = worker.take(1)
            worker.answer(task, task[1])
            assert future.result(PATIENCE_S) == task[1]


# --- the bell -------------------------------------------------------------------------------------------


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    bell.open()
    yield bell
    bell.close()


def test_what_was_rung_before_is_heard(bell: Bell) -> None:
    bell.ring()

    assert not bell.wait(-1, PATIENCE_S)


def test_it_may_be_rung_as_often_as_one_likes(bell: Bell) -> None:
    for _ in range(10_000):
        bell.ring()
    bell.wait(-1, PATIENCE_S)


def test_it_is_heard_once(bell: Bell) -> None:
    bell.ring()
    bell.wait(-1, PATIENCE_S)

    with Cable(1) as cable:  # anything with a descriptor that never can be read
        assert not bell.wait(cable._listener.fileno(), 0.0)


def test_a_closed_bell_rings_for_nobody(bell: Bell) -> None:
    bell.close()
    bell.ring()
