"""The broker and its engine, where they are at their limits: finalizers, broken callers, bugs."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pyrotask.broker import Broker
from pyrotask.config import Settings
from pyrotask.core.machine import Parked
from pyrotask.core.model import Payload
from pyrotask.errors import BrokerBroken
from pyrotask.taskmanager import TaskManager
from tests.taskmanager.houses import PATIENCE_S, Background, ask, eventually, image, in_background, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.taskmanager.houses import House

PAYLOAD = Payload("plain", (b"\xc0",))


# --- finalizers ---------------------------------------------------------------------------------


class Rubbish:
    """An object that only the garbage collector can free, and what it does then."""

    def __init__(self, last_will: Any) -> None:
        self._last_will = last_will
        self._myself = self

    def __del__(self) -> None:
        self._last_will()


@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_finalizer_that_interrupts_a_command_may_call_the_manager(local: House, thread: str) -> None:
    tm = local.client()

    def command(_m: object, _now: int) -> int:
        Rubbish(tm.terminate)
        return gc.collect()

    def run() -> None:
        tm.broker.call(command)

    run() if thread == "main" else Background(run).result()
    with refusal("TaskManagerTermination", Exception):
        tm.addTaskRequest("t", None)


def test_a_finalizer_that_interrupts_a_command_cannot_wait(local: House) -> None:
    tm = local.client()
    seen: list[BaseException] = []

    def last_will() -> None:
        try:
            tm.getAnyTask()
        except RuntimeError as error:
            seen.append(error)

    def command(_m: object, _now: int) -> int:
        Rubbish(last_will)
        return gc.collect()

    Background(tm.broker.call, command).result()
    assert "finalizer" in str(seen[0])


def test_what_a_finalizer_wanted_is_done_in_its_order(local: House) -> None:
    tm = local.client()

    def command(_m: object, _now: int) -> int:
        Rubbish(lambda: [tm.addTaskRequest("t", k) for k in range(3)])
        return gc.collect()

    Background(tm.broker.call, command).result()
    assert [tm.getAnyTask(timeout=0)[2] for _ in range(3)] == [0, 1, 2]


# --- callers --------------------------------------------------------------------------------------


class Deaf:
    """A caller that cannot be told any more."""

    def answer(self, reply: Any, ticket: Any) -> None:
        raise RuntimeError("Event loop is closed")


def test_what_was_for_a_caller_that_cannot_be_told_is_first_in_line_again(local: House) -> None:
    tm = local.client()
    reply = ask(local, lambda m, now: m.lease(now, caller=Deaf()))
    assert isinstance(reply, Parked)
    ask(local, lambda m, now: m.collect(now, caller=Deaf()))
    behind = in_background(local, "getAnyTask")
    tm.addTaskRequest("t", None)
    assert behind.result()[0] == "t_0"
    tm.storeResult("t_0", "kept")
    assert tm.getAnyResult(timeout=0)[2] == "kept"


def test_a_collected_answer_is_not_counted_any_more_by_anybody(local: House) -> None:
    tm = local.client()
    for _ in range(50):
        tm.addTaskRequest("t", None)
        tm.storeResult(tm.getAnyTask()[0], None)
        tm.getAnyResult()
        assert Background(tm.numberOfTasks).result() == ({}, {}, {})


def test_an_interrupted_decoding_leaves_the_answer_first_in_line(local: House) -> None:
    tm = local.client()
    for k in range(2):
        tm.addTaskRequest("t", k)
        tm.storeResult(tm.getAnyTask()[0], k)

    def interrupted(_reply: object) -> object:
        raise KeyboardInterrupt

    before = image(local)
    with pytest.raises(KeyboardInterrupt):
        tm.broker.ask(lambda m, now, caller: m.collect(now, final=False, caller=caller), present=interrupted)
    assert image(local) == before
    assert tm.getAnyResult()[2] == 0


def test_an_interrupted_decoding_leaves_the_task_first_in_line(local: House) -> None:
    tm = local.client()
    for _ in range(2):
        tm.addTaskRequest("t", None)

    def interrupted(_reply: object) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tm.broker.ask(lambda m, now, caller: m.lease(now, caller=caller), present=interrupted)
    assert tm.getAnyTask()[0] == "t_0"


# --- bugs -----------------------------------------------------------------------------------------


def _break(tm: TaskManager) -> BrokerBroken:
    def bug(_m: object, _now: int) -> None:
        raise AssertionError("a bug")

    with pytest.raises(BrokerBroken, match="a bug") as caught:
        tm.broker.call(bug)
    return caught.value


def test_a_broken_broker_says_so_to_everybody_from_then_on(local: House) -> None:
    tm = local.client()
    waiting = [in_background(local, "getAnyTask"), in_background(local, "getAnyResult")]
    _break(tm)
    for call in waiting:
        with pytest.raises(BrokerBroken, match="a bug"):
            call.result()
    for later in (tm.numberOfTasks, tm.getAnyTask, tm.terminate):
        with pytest.raises(BrokerBroken, match="a bug"):
            later()


def test_who_was_just_being_answered_is_told_of_the_break_too(local: House) -> None:
    tm = local.client()
    waiting = in_background(local, "getAnyTask")

    def bug(m: Any, now: int) -> None:
        m.submit(now, "t", PAYLOAD)  # pairs the task with the waiting call: not parked any more
        raise AssertionError("a bug")

    with pytest.raises(BrokerBroken):
        tm.broker.call(bug)
    with pytest.raises(BrokerBroken):
        waiting.result()


def test_a_broken_broker_is_logged_once(local: House, caplog: pytest.LogCaptureFixture) -> None:
    tm = local.client()
    with caplog.at_level(logging.CRITICAL, "pyrotask"):
        _break(tm)
        with pytest.raises(BrokerBroken):
            tm.numberOfTasks()
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_each_caller_of_a_broken_broker_gets_an_error_of_its_own(local: House) -> None:
    tm = local.client()
    first = _break(tm)
    with pytest.raises(BrokerBroken) as second:
        tm.numberOfTasks()
    assert first is not second.value
    assert first.__cause__ is second.value.__cause__


def test_whoever_asks_to_be_told_of_a_break_is_told_also_afterwards(local: House) -> None:
    tm = local.client()
    told: list[BrokerBroken] = []
    tm.broker.engine.on_broken(told.append)
    assert told == []
    _break(tm)
    assert len(told) == 1
    tm.broker.engine.on_broken(told.append)
    assert len(told) == 2


def test_a_broken_broker_does_not_spin(local: House) -> None:
    tm = local.client()
    tm.registerProcess(0.05)
    watchdog = tm.broker.engine.watchdog._thread
    assert watchdog is not None
    _break(tm)
    watchdog.join(PATIENCE_S)
    assert not watchdog.is_alive()


def test_an_interrupt_in_the_middle_of_a_command_breaks_the_broker() -> None:
    broker = Broker(Settings())

    def interrupted(m: Any, now: int) -> None:
        m._recorder.record(m.store_data({"a": PAYLOAD}).events[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broker.engine.execute(interrupted)
    with pytest.raises(BrokerBroken):
        broker.call(lambda m, _: len(m.state.tasks))


# --- coming and going -------------------------------------------------------------------------------


@pytest.fixture
def own_threads() -> Callable[[], set[str]]:
    """Tells the names of our threads that the test has brought about."""
    before = set(threading.enumerate())
    return lambda: {
        t.name for t in threading.enumerate() if t not in before and t.name.startswith("pyrotask")
    }


def test_a_manager_that_nobody_has_any_more_leaves_no_thread(own_threads: Callable[[], set[str]]) -> None:
    tm = TaskManager(Settings())
    tm.registerProcess(60.0)
    assert own_threads() == {"pyrotask-hand", "pyrotask-watchdog"}
    gone = weakref.ref(tm.broker)
    del tm
    assert gone() is None
    eventually(lambda: not own_threads())


def test_a_manager_that_is_never_promised_anything_has_no_watchdog(
    own_threads: Callable[[], set[str]],
) -> None:
    tm = TaskManager(Settings())
    tm.registerProcess()
    tm.addTaskRequest("t", None)
    assert own_threads() == {"pyrotask-hand"}


def test_a_manager_can_be_closed_twice() -> None:
    with TaskManager(Settings()) as tm:
        tm.registerProcess(0.05)
        tm.close()
    tm.close()


def test_a_thread_that_is_answered_while_it_gives_up_gets_the_answer_or_leaves_it(local: House) -> None:
    tm = local.client()
    taken = 0

    def take() -> int:
        try:
            tm.getAnyTask(timeout=0.0005)
        except TimeoutError:
            return 0
        return 1

    for _ in range(300):
        waiting = Background(take)
        time.sleep(0.0005)
        tm.addTaskRequest("t", None)
        taken += waiting.result()
        if tm.numberOfTasks()[0]["t"]:
            tm.getAnyTask(timeout=0)
            taken += 1
    assert taken == 300
    assert tm.numberOfTasks()[1] == {"t": 300}
