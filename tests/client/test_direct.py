"""A lone submit is sent by the thread that submits it; what goes wrong there, the collector puts right."""

from __future__ import annotations

import contextlib
import gc
import select
import socket
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future as StdFuture
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from pyrotask import Session
from pyrotask.arena import Segment
from pyrotask.client.bell import Bell
from pyrotask.client.collector import UNSURE_S
from pyrotask.client.future import TaskFuture
from pyrotask.client.ledger import Delivery, Settled
from pyrotask.client.link import Link
from pyrotask.client.state import MOST_DIRECT_BYTES, State
from pyrotask.config import MIB, Settings
from pyrotask.core.model import Payload
from pyrotask.errors import ConnectError, KeyConflict
from pyrotask.remote import bulk, versions
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.lean import LeanConnection
from pyrotask.remote.server import Server
from tests.cable import Cable
from tests.client.interruption import Interruption
from tests.client.serving import PATIENCE_S, HandWorker, ThreadWorker, serving
from tests.waiting import until

# --- what goes directly ---------------------------------------------------------------------------------


@pytest.fixture
def state() -> Iterator[State]:
    """Of a session whose sender and collector wait for work."""
    state = State(Settings())
    for bell in (state.bell, state.wanted):
        bell.open()
    assert state.next_work(10, 1000) is None
    assert state.next_ask(tells=False, takes_lone=True) is None
    yield state
    for bell in (state.bell, state.wanted):
        bell.close()


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


def test_what_is_submitted_before_the_reply_is_sent_when_the_lone_one_is_taken_on(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    lone = state.add(TaskFuture("sqrt"))
    others = [state.add(TaskFuture("sqrt")) for _ in range(3)]

    assert len(sent) == 1
    hurry = state.next_work(10, 1000)
    assert hurry is not None
    assert (hurry.hurried, hurry.submits) == (lone, [])
    assert state.next_work(10, 1000) is None
    assert not list(state.lone_numbered(lone, 0))
    work = state.next_work(10, 1000)
    assert work is not None
    assert work.submits == others


def test_who_waits_until_all_is_sent_does_not_wait_for_an_answer(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    lone = state.add(TaskFuture("sqrt"))
    assert state.next_work(10, 1000) is None
    assert not state.wait_until_sent(0)

    hurry = state.next_work(10, 1000)
    assert hurry is not None
    assert hurry.hurried is lone
    assert not list(state.lone_numbered(lone, 0))
    assert state.wait_until_sent(0)


def test_a_lone_submit_that_was_refused_is_the_senders_next(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    lone, other = state.add(TaskFuture("sqrt")), state.add(TaskFuture("sqrt"))
    assert not list(state.lone_refused())

    work = state.next_work(10, 1000)
    assert work is not None
    assert work.submits == [lone, other]


def test_a_lone_submit_that_was_refused_and_then_taken_on_when_it_was_hurried_is_not_sent_again(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    lone, other = state.add(TaskFuture("sqrt")), state.add(TaskFuture("sqrt"))
    assert state.next_work(10, 1000) is not None
    assert not list(state.lone_refused())
    assert state.pending() == [lone, other]
    assert not list(state.lone_numbered(lone, 7))  # there was room, a moment later
    state.sent()

    work = state.next_work(10, 1000)
    assert work is not None
    assert work.submits == [other]
    delivery = Delivery(1, 7, "sqrt", ["ended", "cancelled", ""])
    assert list(state.arrived([delivery])) == [(lone, delivery)]


def test_the_answer_of_a_lone_submit_that_was_refused_and_then_taken_on_may_come_before_its_number(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    lone, _ = state.add(TaskFuture("sqrt")), state.add(TaskFuture("sqrt"))
    assert state.next_work(10, 1000) is not None
    assert not list(state.lone_refused())
    early = Delivery(1, 7, "sqrt", ["ended", "cancelled", ""])
    assert not list(state.arrived([early]))
    assert list(state.lone_numbered(lone, 7)) == [(lone, early)]


def test_a_lone_submit_that_is_refused_when_it_has_a_number_is_not_sent_again(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    lone, other = state.add(TaskFuture("sqrt")), state.add(TaskFuture("sqrt"))
    assert state.next_work(10, 1000) is not None
    assert not list(state.lone_numbered(lone, 7))
    assert not list(state.lone_refused())  # the call of that name, say, by a broker of an older version
    state.sent()

    work = state.next_work(10, 1000)
    assert work is not None
    assert work.submits == [other]
    delivery = Delivery(1, 7, "sqrt", ["ended", "cancelled", ""])
    assert list(state.arrived([delivery])) == [(lone, delivery)]


def test_a_lone_submit_can_be_withdrawn(state: State, sent: list[tuple[TaskFuture, int]]) -> None:
    lone = state.add(TaskFuture("sqrt"))
    state.withdraw()
    hurry = state.next_work(10, 1000)
    assert hurry is not None
    assert hurry.hurried is lone
    assert not list(state.lone_numbered(lone, 0))

    work = state.next_work(10, 1000)
    assert work is not None
    assert work.to_withdraw == [lone]


def test_while_the_collector_asks_nothing_goes_past_it(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    state.add(TaskFuture("sqrt"))
    list(state.lone_answered([0], [], 0))
    assert state.next_ask(tells=False, takes_lone=True) is not None
    state.add(TaskFuture("sqrt"))

    assert len(sent) == 1


def test_while_the_collector_tells_what_was_taken_over_nothing_goes_past_it(
    state: State, sent: list[tuple[TaskFuture, int]]
) -> None:
    state.add(TaskFuture("sqrt"))
    list(state.lone_answered([0], [Delivery(1, 0, "sqrt", ["ended", "cancelled", ""])], 0))
    assert state.next_ask(tells=False, takes_lone=True) is None
    assert state.has_to_tell
    assert state.next_ask(tells=True, takes_lone=True) is not None
    state.add(TaskFuture("sqrt"))

    assert len(sent) == 1


def test_an_answer_that_comes_before_the_number_of_its_task_leaves_nothing_to_ask_for(state: State) -> None:
    future = state.add(TaskFuture("sqrt"))
    assert state.next_work(10, 1000) is not None
    assert state.next_ask(tells=False, takes_lone=True) is not None
    early = Delivery(1, 7, "sqrt", ["ended", "cancelled", ""])
    assert not list(state.arrived([early]))
    assert state.next_ask(tells=False, takes_lone=True) is None

    assert list(state.numbered([future], [7])) == [(future, early)]
    assert state.next_ask(tells=False, takes_lone=True) is None


def test_when_the_numbers_are_known_the_others_answers_are_asked_for(state: State) -> None:
    futures = [state.add(TaskFuture("sqrt")) for _ in range(2)]
    assert state.next_work(10, 1000) is not None
    state.wanted.wait(-1, 0)  # it was rung for the submit
    list(state.arrived([Delivery(1, 7, "sqrt", ["ended", "cancelled", ""])]))
    assert state.next_ask(tells=False, takes_lone=True) is None
    assert len(list(state.numbered(futures, [7, 8]))) == 1

    assert not state._is_listening  # so it was rung
    ask = state.next_ask(tells=False, takes_lone=True)
    assert ask is not None
    assert ask.for_futures
    assert ask.is_sure


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
    assert state.next_ask(tells=False, takes_lone=True) is None
    needs = TaskFuture("sqrt")
    needs.inputs = (1,)
    state.add(needs)

    assert not sent


def test_a_ctrl_c_while_it_is_sent_wakes_the_collector(state: State) -> None:
    def interrupted(_future: TaskFuture) -> None:
        raise KeyboardInterrupt

    state.send_directly = interrupted
    with pytest.raises(KeyboardInterrupt):
        state.add(future := TaskFuture("sqrt"))

    state.wanted.wait(-1, PATIENCE_S)
    assert state.lone is future


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
    state = session._state
    until(lambda: state._is_idle and state._is_listening and state._takes_lone)


@pytest.mark.parametrize("trouble", [ConnectError, TypeError, KeyboardInterrupt])
@pytest.mark.parametrize("when", ["before", "after"])
def test_trouble_in_the_submitting_thread_is_put_right_and_the_task_is_done_once(
    when: str, trouble: type[BaseException], server: Server, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(server.address) as session:
        assert session.submit("note", 0).result(PATIENCE_S) == 0
        wait_until_idle(session)
        assert isinstance(session._collecting, Link)
        begin = session._collecting.begin

        def in_trouble(method: str, *args: object) -> None:
            if when == "after":
                begin(method, *args)
            raise trouble("now")

        monkeypatch.setattr(session._collecting, "begin", in_trouble)
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
    monkeypatch.setattr("pyrotask.client.collector.LOOK_S", 0.05)
    monkeypatch.setattr("pyrotask.client.lone.CALL_TIMEOUT_S", 0.1)
    with Session(server.address) as session:
        session.submit("note", 0).result(PATIENCE_S)
        wait_until_idle(session)
        monkeypatch.setattr(
            session._collecting, "begin", lambda *_call: None
        )  # as if a network had swallowed it
        assert session.submit("note", 1).result(PATIENCE_S) == 1
    assert noting.runs[1] == 1


def test_what_the_broker_refuses_is_the_futures_error(session: Session, noting: Noting) -> None:
    session.submit("note", 0).result(PATIENCE_S)
    wait_until_idle(session)
    refused = session.submit_payload("note", Payload("plain", (b"x",)), {"priority": "high"})

    assert isinstance(refused.exception(PATIENCE_S), ValueError)
    assert session.submit("note", 1).result(PATIENCE_S) == 1


def test_tasks_run_in_the_order_in_which_they_were_submitted(server: Server, session: Session) -> None:
    with HandWorker(server.address) as worker:
        for number in range(30):
            if number:
                wait_until_idle(session)
            futures = [session.submit("a", number, place) for place in range(3)]
            tasks = [task for _ in futures for task in worker.take(1)]
            for task in tasks:
                worker.answer(task, task[0])
            assert [future.result(PATIENCE_S) for future in futures] == [task[0] for task in tasks]


def test_a_task_that_takes_long_has_its_number_soon(server: Server, session: Session) -> None:
    with HandWorker(server.address) as worker:
        warm_up = session.submit("a")
        worker.answer(worker.take(1)[0], None)
        warm_up.result(PATIENCE_S)
        wait_until_idle(session)
        future = session.submit("a")
        until(lambda: future.task is not None)
        worker.answer(worker.take(1)[0], 5)
        assert future.result(PATIENCE_S) == 5


def test_what_was_answered_is_taken_over_when_nothing_follows(
    server: Server, session: Session, noting: Noting
) -> None:
    session.submit("note", 0).result(PATIENCE_S)
    wait_until_idle(session)
    session.submit("note", 1).result(PATIENCE_S)

    with BulkProxy(server.address) as looking:
        until(lambda: looking.call("sessions")[0]["handed_out"] == 0)


def test_the_broker_is_told_what_a_reader_took_over_while_a_lone_task_was_under_way(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrotask.client.lone.MOMENT_S", PATIENCE_S)
    with HandWorker(server.address) as worker:
        with Session(server.address, "mine") as first:
            for number in range(2):
                first.submit("a", number)
            assert first.flush(PATIENCE_S)
            first.close()
        for task in worker.take():
            worker.answer(task, None)
        with Session(server.address, "mine") as second, BulkProxy(server.address) as looking:
            results = second.results(PATIENCE_S)
            next(results)
            wait_until_idle(second)
            future = second.submit("a")
            (task,) = worker.take(1)
            next(results)
            worker.answer(task, None)
            future.result(PATIENCE_S)
            until(lambda: looking.call("sessions", "mine")[0]["handed_out"] == 2)


def test_a_broker_of_the_version_before_is_not_asked_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "WIRES", versions.WireRange(1, 1))
    monkeypatch.delitem(bulk.CALLS, "submit_and_collect")
    with serving() as server, Noting(server.address) as noting, Session(server.address) as session:
        for number in range(3):
            assert session.submit("note", number).result(PATIENCE_S) == number
    assert noting.runs == dict.fromkeys(range(3), 1)


def test_a_broker_that_comes_back_in_the_version_before_gets_the_lone_submit_all_the_same(
    server: Server, session: Session, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.submit("note", 0).result(PATIENCE_S)
    wait_until_idle(session)
    assert server._hub is not None
    monkeypatch.setattr(versions, "WIRES", versions.WireRange(1, 1))
    monkeypatch.delitem(server._hub.services[bulk.OBJECT_ID].calls, "submit_and_collect")
    assert isinstance(session._collecting, Link)
    session._collecting._proxy.interrupt()
    assert session.submit("note", 1).result(PATIENCE_S) == 1
    assert noting.runs == {0: 1, 1: 1}


def test_a_full_broker_delays_a_lone_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(Settings(max_waiting=1)) as server,
        Session(server.address) as other,
        Session(server.address) as session,
        HandWorker(server.address) as worker,
    ):
        first = session.submit("a")
        worker.answer(worker.take(1)[0], 0)
        assert first.result(PATIENCE_S) == 0
        wait_until_idle(session)
        second = other.submit("b")
        assert other.flush(PATIENCE_S)
        waits_for_room = told_when_it_waits_for_room(session, monkeypatch)
        third = session.submit("c")
        assert waits_for_room.wait(PATIENCE_S)
        for future in (second, third):
            (task,) = worker.take(1)
            worker.answer(task, task[1])
            assert future.result(PATIENCE_S) == task[1]


def test_after_a_ctrl_c_anywhere_in_a_read_nobody_reads_any_more(state: State) -> None:
    for point in count():
        interruption = Interruption(point)
        assert state.next_ask(tells=False, takes_lone=True) is None
        with contextlib.suppress(KeyboardInterrupt, TimeoutError), interruption:
            state.read(0)
        assert state.next_ask(tells=False, takes_lone=True) is None, point
        if not interruption.has_come:
            break
    assert point > 5


class Rival:
    """Another thread, that takes a lock if it is free, and expects to have it until it gives it back."""

    def __init__(self, pool: ThreadPoolExecutor, state: State) -> None:
        self._pool = pool
        self._lock = state._lock
        self._has_looked, self._is_over = threading.Event(), threading.Event()
        self._having: list[StdFuture[None]] = []

    def come(self) -> None:
        self._having.append(self._pool.submit(self._have_it))
        self._has_looked.wait(PATIENCE_S)

    def go(self) -> None:
        self._is_over.set()
        for having in self._having:
            having.result(PATIENCE_S)

    def _have_it(self) -> None:
        is_mine = self._lock.acquire(blocking=False)
        self._has_looked.set()
        if is_mine:
            self._is_over.wait(0.1)  # no longer, since the other may need it before it can go on
            self._lock.release()


def test_a_ctrl_c_anywhere_in_a_wait_takes_the_lock_away_from_nobody(state: State) -> None:
    condition = threading.Condition
    waits: list[Callable[..., Any]] = [condition.wait_for, condition.wait]
    waits += [getattr(condition, name) for name in ("_release_save", "_acquire_restore")]
    state.add(TaskFuture("sqrt"))
    with ThreadPoolExecutor(1) as pool:
        for point in count():
            rival = Rival(pool, state)
            interruption = Interruption(point, waits, rival.come)
            with contextlib.suppress(KeyboardInterrupt), interruption:
                state.wait_until_quiet(0)
            rival.go()
            if not interruption.has_come:
                break
    assert point > 5


NEVER_S = 10 * PATIENCE_S
"""Longer than any of these tests waits: so what is done, was not left to who looks by itself after this."""


@pytest.fixture
def unwatched_session(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Its threads do nothing unless they are woken, or told by the broker."""
    monkeypatch.setattr("pyrotask.client.collector.LOOK_S", NEVER_S)
    monkeypatch.setattr("pyrotask.client.sender.LOOK_S", NEVER_S)
    monkeypatch.setattr("pyrotask.client.lone.CALL_TIMEOUT_S", NEVER_S)
    with Session(server.address, settings=Settings(explain_after_s=NEVER_S)) as session:
        yield session


def is_interrupted_at(
    point: int, session: Session, key: str | None = None, also: Iterable[Callable[..., Any]] = ()
) -> bool:
    """Submit a task, with a Ctrl-C at that point of it; False: it has fewer points."""
    interruption = Interruption(point, also)
    with contextlib.suppress(KeyboardInterrupt), interruption:
        session.submit("note", 1_000 + point, key=key)
    return interruption.has_come


@pytest.mark.parametrize("is_keyed", [False, True])
def test_after_a_ctrl_c_anywhere_in_a_submit_the_task_is_seen_through_at_once_and_done_once(
    is_keyed: bool, unwatched_session: Session, noting: Noting
) -> None:
    session = unwatched_session
    session.submit("note", -1).result(PATIENCE_S)
    for point in count():
        wait_until_idle(session)
        key = f"k{point}" if is_keyed else None
        has_come = is_interrupted_at(point, session, key)
        # Without a word from anybody else: another submit would wake those who see to this one.
        assert session.wait(PATIENCE_S), point
        again = session.submit("note", 1_000 + point if is_keyed else point, key=key)
        again.result(PATIENCE_S)
        if not has_come:
            break
    assert point > 10
    assert set(noting.runs.values()) == {1}


def test_after_a_ctrl_c_anywhere_in_the_first_submit_the_session_works_and_can_be_closed(
    server: Server, noting: Noting
) -> None:
    for point in count():
        with Session(server.address) as session:
            has_come = is_interrupted_at(point, session, also=[threading.Thread.start])
            assert session.wait(PATIENCE_S), point
            assert session.submit("note", point).result(PATIENCE_S) == point
        if not has_come:
            break
    assert point > 10
    assert set(noting.runs.values()) == {1}


@pytest.mark.parametrize("is_keyed", [False, True])
def test_who_submits_again_at_once_after_a_ctrl_c_loses_nothing_and_doubles_nothing(
    is_keyed: bool, unwatched_session: Session, noting: Noting
) -> None:
    session = unwatched_session
    session.submit("note", -1).result(PATIENCE_S)
    for point in count():
        wait_until_idle(session)
        key = f"k{point}" if is_keyed else None
        has_come = is_interrupted_at(point, session, key)
        again = session.submit("note", 1_000 + point if is_keyed else point, key=key)
        again.result(PATIENCE_S)
        assert session.wait(PATIENCE_S), point
        if not has_come:
            break
    assert point > 10
    assert set(noting.runs.values()) == {1}


def test_a_thread_that_comes_too_late_sends_nothing(
    session: Session, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.submit("note", 0).result(PATIENCE_S) == 0
    wait_until_idle(session)
    state, send = session._state, session._state.send_directly
    assert send is not None
    answered = state.lone_answered

    def late(future: TaskFuture) -> None:
        """It was held up until the collector has seen to its task, at the last moment that matters."""

        def just_before(*reply: Any) -> Iterator[Settled]:
            send(future)
            return answered(*reply)

        monkeypatch.setattr(state, "lone_answered", just_before)
        state.wanted.ring()

    monkeypatch.setattr(state, "send_directly", late)
    assert session.submit("note", 1).result(PATIENCE_S) == 1
    until(lambda: state.lone is None)
    monkeypatch.undo()
    assert session.submit("note", 2).result(PATIENCE_S) == 2
    assert noting.runs == {0: 1, 1: 1, 2: 1}


def test_a_thread_that_is_late_for_the_end_of_the_session_sends_nothing(
    session: Session, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.submit("note", 0).result(PATIENCE_S) == 0
    wait_until_idle(session)
    begun: list[str] = []
    send = session._state.send_directly
    assert send is not None

    def late(future: TaskFuture) -> None:
        monkeypatch.setattr(session, "_say_goodbye", lambda **_: send(future))
        session.close()

    monkeypatch.setattr(session._state, "send_directly", late)
    monkeypatch.setattr(session._collecting, "begin", lambda method, *_: begun.append(method))
    session.submit("note", 1)

    assert not begun


def test_a_closed_session_is_freed_without_the_garbage_collector(server: Server, noting: Noting) -> None:
    gc.collect()
    gc.disable()
    try:
        session = Session(server.address)
        session.submit("note", 1).result(PATIENCE_S)
        state = weakref.ref(session._state)
        session.close()
        del session
        until(lambda: state() is None)
    finally:
        gc.enable()


def test_who_submits_does_not_wait_until_the_broker_has_opened_our_memory(
    session: Session, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.submit("note", 0).result(PATIENCE_S) == 0
    wait_until_idle(session)
    asking: list[str] = []
    show = BulkProxy._show

    def noted(proxy: BulkProxy, lean: LeanConnection, segment: Segment | None) -> None:
        asking.append(threading.current_thread().name)
        show(proxy, lean, segment)

    monkeypatch.setattr(BulkProxy, "_show", noted)
    session.submit("note", bytearray(10**6)).cancel()
    assert session.flush(PATIENCE_S)

    assert threading.current_thread().name not in asking


def test_a_submit_that_is_refused_does_not_occupy_the_connection_for_long(
    server: Server, unwatched_session: Session, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = unwatched_session
    session.submit("note", 0).result(PATIENCE_S)
    wait_until_idle(session)
    submits, collects = session._link.call, session._collecting.call
    is_asking = threading.Event()
    patience: list[object] = []

    def when_the_collector_asks(method: str, *args: object, **options: Any) -> Any:
        assert is_asking.wait(PATIENCE_S)
        return submits(method, *args, **options)

    def asks(method: str, *args: object, **options: Any) -> Any:
        patience.append(args[3])
        is_asking.set()
        return collects(method, *args, **options)

    monkeypatch.setattr(session._link, "call", when_the_collector_asks)
    monkeypatch.setattr(session._collecting, "call", asks)
    too_large_to_go_directly = Payload("plain", (bytes(MOST_DIRECT_BYTES),))
    refused = session.submit_payload("note", too_large_to_go_directly, {"priority": "high"})
    assert isinstance(refused.exception(PATIENCE_S), ValueError)
    wait_until_idle(session)

    assert set(patience) <= {UNSURE_S, 0.0}


# --- no room --------------------------------------------------------------------------------------------


def told_when_it_waits_for_room(session: Session, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    waits = threading.Event()
    pause = session._state.pause

    def noted_pause(seconds: float) -> None:
        waits.set()
        pause(seconds)

    monkeypatch.setattr(session._state, "pause", noted_pause)
    return waits


def test_nobody_waits_for_what_was_cancelled_while_there_was_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(Settings(max_waiting=1)) as server,
        Session(server.address) as other,
        Session(server.address) as session,
    ):
        blocking = other.submit("a")
        assert other.flush(PATIENCE_S)
        waits_for_room = told_when_it_waits_for_room(session, monkeypatch)
        future = session.submit("b")
        assert waits_for_room.wait(PATIENCE_S)
        future.cancel()

        assert session.wait(PATIENCE_S)
        blocking.cancel()


def test_what_is_refused_once_there_is_room_harms_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(Settings(max_waiting=1)) as server,
        Session(server.address) as other,
        Session(server.address) as session,
        HandWorker(server.address) as worker,
    ):
        first = other.submit("a", 1, key="k")
        assert other.flush(PATIENCE_S)
        (task,) = worker.take(1)
        blocking = other.submit("b")
        assert other.flush(PATIENCE_S)
        waits_for_room = told_when_it_waits_for_room(session, monkeypatch)
        conflict = session.submit("a", 2, key="k")
        assert waits_for_room.wait(PATIENCE_S)
        (second,) = worker.take(1)
        for one in (task, second):
            worker.answer(one, None)

        assert isinstance(conflict.exception(PATIENCE_S), KeyConflict)
        assert first.result(PATIENCE_S) is blocking.result(PATIENCE_S) is None
        after = session.submit("c")
        (third,) = worker.take(1)
        worker.answer(third, 3)
        assert after.result(PATIENCE_S) == 3


def test_who_reads_gets_what_is_there_while_a_submit_waits_for_the_room_that_this_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(Settings(max_result_bytes=MIB)) as server, HandWorker(server.address) as worker:
        with Session(server.address, "mine") as first:
            earlier = [first.submit("a", number) for number in range(3)]
            assert first.flush(PATIENCE_S)
            first.close()
        for task in worker.take():
            worker.answer(task, bytes(MIB))
        with Session(server.address, "mine") as second:
            waits_for_room = told_when_it_waits_for_room(second, monkeypatch)
            future = second.submit("a")
            assert waits_for_room.wait(PATIENCE_S)
            results = second.results(PATIENCE_S)
            assert [next(results).task for _ in earlier] == [one.task for one in earlier]
            reading = threading.Thread(target=lambda: list(results))  # takes over the last one
            reading.start()
            (task,) = worker.take(1)
            worker.answer(task, 5)
            assert future.result(PATIENCE_S) == 5
            reading.join(PATIENCE_S)


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


def test_a_descriptor_that_was_closed_meanwhile_is_no_use_waiting_for(
    bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "poll", raising=False)  # as on Windows
    other, closed = socket.socketpair()
    descriptor = closed.fileno()
    closed.close()
    other.close()

    assert bell.wait(descriptor, PATIENCE_S)
