"""The bulk calls against an engine, done as the event loop does them."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from pyrotask.clock import ManualClock
from pyrotask.core.leases import MOST_BYTES
from pyrotask.core.machine import Machine
from pyrotask.core.model import Cause, NewTask, Options, Payload, State, TaskNumber
from pyrotask.engine import Engine
from pyrotask.errors import (
    BrokerBroken,
    TaskManagerTermination,
    UnknownLabel,
    UnknownProcess,
)
from pyrotask.remote import bulk
from pyrotask.remote.versions import WIRES
from tests.remote.bulk_calls import OTHER_VALUE, VALUE, Client


@pytest.fixture
def worker(client: Client) -> int:
    return int(client.call("register_worker", None, None, "here", ["sqrt"]))


def submit(engine: Engine, tag: str = "sqrt", **options: Any) -> int:
    payload = Payload("plain", (b"\x09",))
    done = engine.execute(lambda m, now: m.submit(now, tag, payload, options=Options(**options)))
    assert isinstance(done.reply, int), done.reply
    return done.reply


def state_of(engine: Engine, task: int) -> State:
    return engine.machine.state.tasks[TaskNumber(task)].state


# --- hello, status ------------------------------------------------------------------------------


def test_hello_names_versions_lineage_and_label(client: Client, engine: Engine) -> None:
    hello = client.call("hello")
    assert (hello["label"], hello["lineage"]) == ("run 7", engine.lineage)
    assert (hello["oldest_wire"], hello["wire"]) == WIRES


def test_status_tells_what_waits_and_why(client: Client, engine: Engine, worker: int) -> None:
    submit(engine, "unknown tag")
    status = client.call("status")
    assert status["tasks"]["waiting"] == {"unknown tag": 1}
    assert status["processes"][0]["tags"] == ["sqrt"]
    assert any("unknown tag" in sentence for sentence in status["explanations"])
    assert status["reasons"] == ["no handler"]


def test_status_names_the_running_tasks_of_a_process(client: Client, engine: Engine, worker: int) -> None:
    submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    assert client.call("status")["processes"][0]["running"] == ["sqrt_0"]


def test_all_that_a_status_holds_can_travel_by_msgpack(client: Client, engine: Engine, worker: int) -> None:
    client.call("register_node", 5.0, "node")
    submit(engine)
    assert msgpack.unpackb(msgpack.packb(client.call("status")))["label"] == "run 7"


# --- exchange -------------------------------------------------------------------------------------


def test_an_exchange_hands_out_up_to_as_many_tasks_as_asked_for(
    client: Client, engine: Engine, worker: int
) -> None:
    for _ in range(3):
        submit(engine)
    reply = client.call("exchange", worker, [], ["sqrt"], 2, 0)
    assert reply["tasks"] == [[n, "sqrt", 1, ["plain", [b"\x09"]], False, None, []] for n in (0, 1)]


def test_an_exchange_hands_out_no_more_than_a_fair_part_of_what_waits(
    client: Client, engine: Engine, worker: int
) -> None:
    other = client.call("register_worker", None, None, "there", ["sqrt"])
    for _ in range(10):
        submit(engine)
    seen = [len(client.call("exchange", who, [], None, 64, 0)["tasks"]) for who in (worker, other) * 3]
    assert seen == [5, 3, 1, 1, 0, 0]


def test_those_who_wait_sleep_on_while_one_is_given_tasks_that_were_measured_to_be_short(
    client: Client, engine: Engine, worker: int
) -> None:
    client.call("exchange", worker, [], None, 0, 0, [["sqrt", 5, 0.0001]])
    other = client.call("register_worker", None, None, "there", ["sqrt"])
    first, second = (client.call("exchange", who, [], None, 64, 10.0) for who in (worker, other))
    task = NewTask("sqrt", Payload("plain", (b"\x09",)))
    engine.execute(lambda m, now: m.submit_many(now, [task] * 5))
    assert (len(first.reply["tasks"]), second.replies) == (5, [])


@pytest.mark.parametrize(
    "ran", [0, {}, ["sqrt"], [["sqrt", 1]], [["sqrt", 0, 1.0]], [["sqrt", 1, -1.0]], [[7, 1, 1.0]]]
)
def test_a_measurement_that_is_none_is_refused(client: Client, worker: int, ran: object) -> None:
    with pytest.raises((TypeError, ValueError), match="ran|measurement"):
        client.call("exchange", worker, [], None, 0, 0, ran)


def test_a_fair_part_is_of_the_tasks_that_the_worker_can_run(
    client: Client, engine: Engine, worker: int
) -> None:
    client.call("register_worker", None, None, "there", ["other"])
    for number in range(20):
        submit(engine, "sqrt" if number % 5 == 0 else "other")
    assert len(client.call("exchange", worker, [], None, 64, 0)["tasks"]) == 2


def test_a_task_with_a_time_limit_is_handed_out_alone(client: Client, engine: Engine, worker: int) -> None:
    submit(engine)
    submit(engine, time_limit_ns=10**9)
    for _ in range(2):
        submit(engine)
    seen = [[task[0] for task in client.call("exchange", worker, [], None, 9, 0)["tasks"]] for _ in range(3)]
    assert seen == [[0], [1], [2, 3]]


def test_large_payloads_are_handed_out_one_by_one(client: Client, engine: Engine, worker: int) -> None:
    large = Payload("plain", (bytes(MOST_BYTES // 2 + 1),))
    for _ in range(2):
        engine.execute(lambda m, now: m.submit(now, "sqrt", large))
    assert len(client.call("exchange", worker, [], None, 9, 0)["tasks"]) == 1


def test_a_task_tells_its_time_limit_and_that_a_plain_client_waits_for_it(
    client: Client, engine: Engine, worker: int
) -> None:
    submit(engine, time_limit_ns=1_500_000_000, plain_answer=True)
    (task,) = client.call("exchange", worker, [], None, 1, 0)["tasks"]
    assert task[4:6] == [True, 1.5]


def test_without_tags_the_ones_registered_with_count(client: Client, engine: Engine, worker: int) -> None:
    submit(engine, "other")
    assert client.call("exchange", worker, [], None, 1, 0)["tasks"] == []


def test_a_result_that_was_handed_in_is_the_answer(client: Client, engine: Engine, worker: int) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    assert client.call("exchange", worker, [[task, 1, "value", VALUE]], None, 0, 0)["refused"] == []
    assert engine.machine.state.value_of(TaskNumber(task)) == Payload("plain", (b"\x01",))


def test_an_error_that_was_handed_in_fails_the_task(client: Client, engine: Engine, worker: int) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    error = [task, 1, "error", VALUE, "Traceback ...", ["ValueError", "Exception"], "no"]
    client.call("exchange", worker, [error], None, 0, 0)
    assert state_of(engine, task) is State.FAILED


def test_a_released_task_is_handed_out_again_in_the_same_exchange(
    client: Client, engine: Engine, worker: int
) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    (again,) = client.call("exchange", worker, [[task, 1, "release", Cause.DRAINED.value]], None, 1, 0)[
        "tasks"
    ]
    assert again[:3] == [task, "sqrt", 2]


def test_a_refused_result_does_not_stop_the_others(client: Client, engine: Engine, worker: int) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    results = [[999, 1, "value", VALUE], [task, 7, "value", VALUE], [task, 1, "value", VALUE]]
    refused = client.call("exchange", worker, results, None, 0, 0)["refused"]
    assert [number for number, _ in refused] == [999, task]
    assert state_of(engine, task) is State.SUCCEEDED


def test_a_late_answer_is_no_error(client: Client, engine: Engine, worker: int) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    client.call("exchange", worker, [[task, 1, "value", VALUE]], None, 0, 0)
    assert client.call("exchange", worker, [[task, 1, "value", OTHER_VALUE]], None, 0, 0)["refused"] == []
    assert engine.machine.state.late_answers == 1


def test_the_result_of_a_lost_process_is_taken_before_it_is_told(
    client: Client, engine: Engine, worker: int
) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    client.call("child_exited", worker, [], "gone")
    with pytest.raises(UnknownProcess):
        client.call("exchange", worker, [[task, 1, "value", VALUE]], None, 1, 0)
    assert state_of(engine, task) is State.SUCCEEDED


def test_a_result_is_taken_after_the_end_and_there_are_no_more_tasks(
    client: Client, engine: Engine, worker: int
) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    client.call("terminate")
    with pytest.raises(TaskManagerTermination):
        client.call("exchange", worker, [[task, 1, "value", VALUE]], None, 1, 0)
    assert state_of(engine, task) is State.SUCCEEDED


def test_an_exchange_waits_for_a_task(client: Client, engine: Engine, worker: int) -> None:
    waiting = client.call("exchange", worker, [], None, 1, 10.0)
    submit(engine)
    assert [task[0] for task in waiting.reply["tasks"]] == [0]


def test_the_results_of_a_waiting_exchange_are_taken_at_once(
    client: Client, engine: Engine, worker: int
) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    client.call("exchange", worker, [[task, 1, "value", VALUE]], None, 1, 10.0)
    assert state_of(engine, task) is State.SUCCEEDED


def test_an_exchange_that_waited_in_vain_has_no_tasks_and_no_error(
    client: Client, engine: Engine, clock: ManualClock, worker: int
) -> None:
    waiting = client.call("exchange", worker, [], None, 1, 10.0)
    clock.advance(10.0)
    engine.tick()
    assert waiting.reply == {"tasks": [], "refused": []}


def test_an_exchange_never_waits_longer_than_a_minute(
    client: Client, engine: Engine, clock: ManualClock, worker: int
) -> None:
    waiting = client.call("exchange", worker, [], None, 1, 3600.0)
    clock.advance(bulk.LONGEST_WAIT_S)
    engine.tick()
    assert waiting.reply["tasks"] == []


def test_who_waits_in_an_exchange_is_told_of_the_end(client: Client, worker: int) -> None:
    waiting = client.call("exchange", worker, [], None, 1, 10.0)
    client.call("terminate")
    with pytest.raises(TaskManagerTermination):
        _ = waiting.reply


def test_an_error_in_the_middle_of_an_exchange_breaks_the_broker(
    client: Client, engine: Engine, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)

    def defect(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Machine, "lease", defect)
    with pytest.raises(BrokerBroken, match="ZeroDivisionError"):
        client.call("exchange", worker, [[task, 1, "value", VALUE]], None, 1, 0)


@pytest.mark.parametrize(
    "result",
    [
        [0, 1, "guess", VALUE],
        [0, 1, "value", "no payload"],
        [0, 1, "value", ["plain", ["text"]]],
        [0, -1, "value", VALUE],
        ["sqrt_0", 1, "value", VALUE],
        [0, 1, "error", VALUE],
        [0, 1, "release", "whim"],
        [0, 1, "release", Cause.CRASHED.value],
        [0],
        7,
    ],
)
def test_a_malformed_result_refuses_the_call_and_changes_nothing(
    client: Client, engine: Engine, worker: int, result: Any
) -> None:
    task = submit(engine)
    client.call("exchange", worker, [], None, 1, 0)
    with pytest.raises(ValueError, match="a result is"):
        client.call("exchange", worker, [[task, 1, "value", VALUE], result], None, 1, 0)
    assert state_of(engine, task) is State.RUNNING


@pytest.mark.parametrize("timeout_s", [-1, float("nan"), float("inf"), "soon", None])
def test_a_timeout_that_is_none_is_refused(client: Client, worker: int, timeout_s: Any) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        client.call("exchange", worker, [], None, 1, timeout_s)


# --- supervisors and resuming -----------------------------------------------------------------------


def test_a_beat_names_the_children_that_are_not_known(client: Client) -> None:
    node = client.call("register_node", 5.0, "node")
    child = client.call("register_worker", node, 5.0, "child", ["sqrt"])
    assert client.call("beat", node, [child, 77]) == {"unknown": [77], "ended": []}


def test_a_beat_tells_once_which_attempts_of_the_children_are_in_vain(client: Client, engine: Engine) -> None:
    node = client.call("register_node", 5.0, "node")
    child = client.call("register_worker", node, 5.0, "child", ["sqrt"])
    task = submit(engine)
    Client(engine).call("exchange", child, [], None, 1, 0)
    client.call("cancel", {"tasks": [task]})
    assert client.call("beat", node, [child])["ended"] == [[child, task, 1]]
    assert client.call("beat", node, [child])["ended"] == []


def test_a_supervisor_gives_back_what_its_children_will_not_begin(client: Client, engine: Engine) -> None:
    node = client.call("register_node", 5.0, "node")
    child = client.call("register_worker", node, 5.0, "child", ["sqrt"])
    for _ in range(4):
        submit(engine)
    Client(engine).call("exchange", child, [], None, 4, 0)
    client.call("give_back", node, [[1, 1], [2, 1]])
    again = [Client(engine).call("exchange", child, [], None, 1, 0)["tasks"][0] for _ in range(2)]
    assert [task[:3] for task in again] == [[1, "sqrt", 2], [2, "sqrt", 2]]
    assert engine.machine.state.tasks[TaskNumber(1)].trouble is None


def test_only_what_is_leased_below_the_supervisor_is_given_back(
    client: Client, engine: Engine, worker: int
) -> None:
    submit(engine)
    Client(engine).call("exchange", worker, [], None, 1, 0)
    node = client.call("register_node", 5.0, "node")
    client.call("give_back", node, [[0, 1], [77, 1]])
    assert state_of(engine, 0) is State.RUNNING


def test_what_a_child_had_begun_has_crashed_and_the_rest_has_not(
    client: Client, engine: Engine, worker: int
) -> None:
    for _ in range(2):
        submit(engine)
    client.call("exchange", worker, [], None, 2, 0)
    client.call("child_exited", worker, [[0, 1]], "killed by signal 9 (SIGKILL)")
    tasks = engine.machine.state.tasks
    begun, other = tasks[TaskNumber(0)], tasks[TaskNumber(1)]
    assert begun.trouble is not None
    assert (begun.trouble.crashes, begun.trouble.story[0].detail) == (1, "killed by signal 9 (SIGKILL)")
    assert other.trouble is None


def test_a_time_limit_that_a_supervisor_reports_is_no_crash(
    client: Client, engine: Engine, worker: int
) -> None:
    task = submit(engine, time_limit_ns=10**12)
    client.call("exchange", worker, [], None, 1, 0)
    client.call("time_limit_reached", worker, task, 1)
    trouble = engine.machine.state.tasks[TaskNumber(task)].trouble
    assert trouble is not None
    assert [end.cause for end in trouble.story] == [Cause.TIME_LIMIT]


def test_resuming_releases_what_the_worker_does_not_hold(client: Client, engine: Engine, worker: int) -> None:
    for _ in range(2):
        submit(engine)
    client.call("exchange", worker, [], None, 2, 0)
    again = Client(engine)
    assert again.call("resume", worker, [[1, 1]]) is True
    assert (state_of(engine, 0), state_of(engine, 1)) == (State.WAITING, State.RUNNING)


def test_resuming_tells_that_a_process_is_not_registered_any_more(client: Client, worker: int) -> None:
    client.call("unregister", worker)
    assert client.call("resume", worker, []) is False


# --- data -----------------------------------------------------------------------------------------


def test_data_come_back_as_they_were_stored(client: Client) -> None:
    client.call("store_data", {"grid": ["pickle", [b"a", b"bc"]]})
    assert client.call("retrieve_data", "grid") == ["pickle", [b"a", b"bc"]]


def test_deleted_data_are_gone(client: Client) -> None:
    client.call("store_data", {"grid": VALUE})
    client.call("delete_data", "grid")
    with pytest.raises(UnknownLabel):
        client.call("retrieve_data", "grid")
