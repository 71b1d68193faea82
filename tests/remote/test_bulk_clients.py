"""The bulk calls of clients against an engine, done as the event loop does them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pyrotask.clock import ManualClock
from pyrotask.core.model import Limits
from pyrotask.engine import Engine
from pyrotask.errors import QueueFull, Refused, SessionExpired, TaskManagerTermination, UnknownTask
from pyrotask.journal import MemoryJournal
from pyrotask.reference import Origin
from pyrotask.remote import bulk
from pyrotask.remote.bulk_submit import MOST_ITEMS, new_tasks_from_wire, option_readers
from tests.remote.bulk_calls import ERROR, OTHER_VALUE, VALUE, Client, Worker, collect, submit

# --- the page about it ---------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", bulk.CALLS)
def test_the_protocol_page_tells_of_every_call(name: str) -> None:
    assert f"{name}(" in "".join(line for line in PAGE.splitlines() if line.startswith("###"))


@pytest.mark.parametrize("name", [*option_readers(), "delay_s", "inputs", "key"])
def test_the_protocol_page_tells_of_every_option(name: str) -> None:
    assert f"`{name}`" in PAGE


# --- sessions and submits -----------------------------------------------------------------------


def test_a_session_is_taken_up_again_by_its_name(client: Client, session: int) -> None:
    assert client.call("open_session", "mine") == session
    assert client.call("open_session", "another") != session


def test_a_session_needs_a_name(client: Client) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        client.call("open_session", "")


def test_a_submit_returns_the_numbers_in_order(client: Client, session: int) -> None:
    assert submit(client, session, 1, count=3) == [0, 1, 2]


def test_a_repeated_submit_is_done_once(client: Client, session: int, worker: Worker) -> None:
    assert submit(client, session) == submit(client, session) == [0]
    assert len(worker.take()) == 1


def test_a_call_in_a_closed_session_is_not_done(client: Client, session: int, worker: Worker) -> None:
    client.call("close_session", session)
    with pytest.raises(SessionExpired):
        submit(client, session)

    assert worker.take() == []


def test_an_item_without_options_is_a_task_too(client: Client, session: int, worker: Worker) -> None:
    assert client.call("submit", session, 1, 0, [["sqrt", VALUE]]) == [0]
    assert worker.take()[0][1] == "sqrt"


def test_options_arrive_as_they_were_meant(client: Client, engine: Engine, session: int) -> None:
    submit(
        client,
        session,
        priority=-2,
        time_limit_s=1.5,
        max_crashes=0,
        max_losses=2,
        plain_answer=True,
        retries=3,
        retry_delay_s=0,
        retry_factor=1.5,
        retry_max_delay_s=60,
        retry_jitter=0,
        retry_only=["OSError"],
    )
    options = engine.machine.state.tasks[0].options  # type: ignore[index]

    assert (options.priority, options.time_limit_ns, options.plain_answer) == (-2, 1_500_000_000, True)
    assert (options.max_crashes, options.max_losses) == (0, 2)
    assert options.retry == (3, 0, 1.5, 60_000_000_000, 0.0, ("OSError",))


def test_tasks_with_the_same_options_share_them(client: Client, engine: Engine, session: int) -> None:
    submit(client, session, 1, priority=1)
    submit(client, session, 2, priority=1)
    first, second = engine.machine.state.tasks.values()

    assert first.options is second.options


def test_a_delayed_task_waits_for_its_time(
    client: Client, engine: Engine, session: int, worker: Worker, clock: ManualClock
) -> None:
    submit(client, session, delay_s=5)
    assert worker.take() == []
    clock.advance(5)
    engine.tick()

    assert len(worker.take()) == 1


def test_a_task_gets_the_values_of_its_inputs(client: Client, session: int, worker: Worker) -> None:
    (source,) = submit(client, session)
    submit(client, session, 2, inputs=[source])
    worker.succeed()

    assert worker.take()[0][6] == [OTHER_VALUE]


def test_the_same_key_is_the_same_task(client: Client, session: int) -> None:
    other = client.call("open_session", "another")

    assert submit(client, session, key="k") == submit(client, other, key="k")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (["", VALUE], "item 1 .* the tag"),
        (["a"], "item 1"),
        ("nonsense", "item 1"),
        (["a", VALUE, {}, {}], "item 1"),
        (["a", "value"], "a payload is"),
        (["a", VALUE, {"colour": 1}], "no option 'colour'; there are: delay_s, inputs, key"),
        (["a", VALUE, {"priority": 1.5}], "priority must be a whole number"),
        (["a", VALUE, {"plain_answer": 1}], "plain_answer must be true or false"),
        (["a", VALUE, {"retry_factor": 0}], "retry_factor"),
        (["a", VALUE, {"retry_jitter": 2}], "retry_jitter"),
        (["a", VALUE, {"retry_only": "OSError"}], "retry_only"),
        (["a", VALUE, {"retry_factor": 10**400}], "retry_factor"),
        (["a", VALUE, {"delay_s": -1}], "delay_s"),
        (["a", VALUE, {"delay_s": 1e300}], "delay_s"),
        (["a", VALUE, {"delay_s": 10**400}], "delay_s"),
        (["a", VALUE, {"time_limit_s": math.nan}], "time_limit_s"),
        (["a", VALUE, {"time_limit_s": 1e10}], "time_limit_s"),
        (["a", VALUE, {"inputs": ["x"]}], "an input"),
    ],
)
def test_what_is_no_task_is_refused_with_its_place_and_the_reason(
    client: Client, session: int, worker: Worker, item: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        client.call("submit", session, 1, 0, [["a", VALUE], item])

    assert worker.take() == []


def test_items_must_be_a_list_of_bounded_length() -> None:
    with pytest.raises(TypeError, match="items must be a list"):
        new_tasks_from_wire("ab")
    with pytest.raises(ValueError, match="send them in parts"):
        new_tasks_from_wire([["a", VALUE]] * (MOST_ITEMS + 1))


class FullDisk(MemoryJournal):
    """A journal that has run out of room."""

    has_room = False


def test_a_full_disk_refuses_submits_and_says_so(clock: ManualClock) -> None:
    client = Client(Engine(Limits(), clock, FullDisk()))
    session = client.call("open_session", "mine")

    with pytest.raises(QueueFull, match="the disk of the journal is almost full"):
        client.call("submit", session, 1, 0, [["a", VALUE]])


# --- collecting ---------------------------------------------------------------------------------


def test_answers_arrive_with_their_deliveries(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, count=2)
    worker.succeed()

    assert collect(client, session) == [
        [1, 0, "a", ["value", OTHER_VALUE]],
        [2, 1, "a", ["value", OTHER_VALUE]],
    ]


def test_a_failure_arrives_with_its_story(client: Client, session: int, worker: Worker) -> None:
    submit(client, session)
    worker.fail()
    ((_, _, _, outcome),) = collect(client, session)

    assert outcome == ["error", ERROR, "Traceback", ["ValueError"], "bad luck"]


def test_a_task_that_ended_without_an_answer_says_why(client: Client, session: int) -> None:
    submit(client, session)
    client.call("cancel", {"tasks": [0]}, "enough")

    assert collect(client, session) == [[1, 0, "a", ["ended", "cancelled", "enough"]]]


def test_what_is_not_taken_over_comes_again(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, count=2)
    worker.succeed()

    assert collect(client, session) == collect(client, session)
    assert [delivery for delivery, *_ in collect(client, session, taken_over=1)] == [2]


def test_a_client_can_take_over_and_ask_for_nothing(client: Client, session: int, worker: Worker) -> None:
    submit(client, session)
    worker.succeed()
    collect(client, session)

    assert client.call("collect", session, 1, 0, 30) == {"deliveries": []}
    assert collect(client, session) == []


def test_a_client_that_waits_is_answered(client: Client, session: int, worker: Worker) -> None:
    submit(client, session)
    waiting = client.call("collect", session, 0, 10, 30)
    worker.succeed()

    assert [task for _, task, *_ in waiting.reply["deliveries"]] == [0]


def test_a_wait_in_vain_is_no_error(client: Client, engine: Engine, session: int, clock: ManualClock) -> None:
    waiting = client.call("collect", session, 0, 10, 1000)
    clock.advance(bulk.LONGEST_WAIT_S)
    engine.tick()

    assert waiting.reply == {"deliveries": []}


def test_a_client_that_waits_is_told_of_the_end(client: Client, engine: Engine, session: int) -> None:
    waiting = client.call("collect", session, 0, 10, 30)
    Client(engine).call("terminate")

    with pytest.raises(TaskManagerTermination):
        _ = waiting.reply


def test_a_delivery_that_never_was_is_refused(client: Client, session: int) -> None:
    with pytest.raises(Refused, match="never handed out"):
        collect(client, session, taken_over=3)


# --- both in one call -------------------------------------------------------------------------------


def submit_and_collect(client: Client, session: int, sequence: int = 1, timeout_s: float = 30) -> Any:
    call = session, sequence, sequence - 1, [["a", VALUE]], 0, 0, 10, timeout_s
    return client.call("submit_and_collect", *call)


def test_a_lone_submit_gets_its_number_and_its_answer_by_one_reply(
    client: Client, session: int, worker: Worker
) -> None:
    waiting = submit_and_collect(client, session)
    worker.succeed()

    assert waiting.reply == {"tasks": [0], "deliveries": [[1, 0, "a", ["value", OTHER_VALUE]]]}


def test_a_lone_submit_gets_its_number_when_no_answer_comes_in_time(
    client: Client, engine: Engine, session: int, clock: ManualClock
) -> None:
    waiting = submit_and_collect(client, session)
    clock.advance(30)
    engine.tick()

    assert waiting.reply == {"tasks": [0], "deliveries": []}


def test_a_repeated_lone_submit_is_done_once_and_its_answer_comes_again(
    client: Client, session: int, worker: Worker
) -> None:
    first = submit_and_collect(client, session)
    worker.succeed()
    again = submit_and_collect(client, session)

    assert again == first.reply
    assert worker.take() == []


def test_a_lone_submit_and_a_submit_of_its_number_are_one_call(
    client: Client, engine: Engine, session: int, worker: Worker
) -> None:
    submit_and_collect(client, session)

    assert submit(Client(engine), session) == [0]
    assert len(worker.take()) == 1


def test_what_was_taken_on_is_no_error_when_another_connection_collects(
    client: Client, engine: Engine, session: int
) -> None:
    newer = Client(engine)
    waiting = submit_and_collect(client, session, 1)
    newer.call("collect", session, 0, 10, 30)

    assert waiting.reply == {"tasks": [0], "deliveries": []}
    assert submit_and_collect(client, session, 2) == {"tasks": [1], "deliveries": []}


def test_what_was_taken_on_is_no_error_when_the_end_comes(
    client: Client, engine: Engine, session: int
) -> None:
    waiting = submit_and_collect(client, session)
    Client(engine).call("terminate")

    assert waiting.reply == {"tasks": [0], "deliveries": []}


def test_what_was_taken_on_is_no_error_when_a_delivery_never_was(client: Client, session: int) -> None:
    call = session, 1, 0, [["a", VALUE]], 9, 9, 10, 30

    assert client.call("submit_and_collect", *call) == {"tasks": [0], "deliveries": []}


def test_a_lone_submit_that_is_refused_takes_nothing_on(client: Client, session: int) -> None:
    client.call("terminate")
    with pytest.raises(TaskManagerTermination):
        submit_and_collect(client, session)

    assert client.call("status")["to_collect"] == 0
    assert client.call("tasks", {"session": session})["tasks"] == []


# --- looking, and interventions -------------------------------------------------------------------


def test_a_task_tells_its_story(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, key="k", retries=1)
    worker.fail()
    told = client.call("task", 0)

    assert (told["task"], told["state"], told["key"], told["retries"]) == (0, "scheduled", "k", 1)
    assert [(end["attempt"], end["cause"], end["detail"]) for end in told["story"]] == [
        (1, "raised", "bad luck")
    ]
    assert told["due_at"] > 0
    assert msgpack.unpackb(msgpack.packb(told)) == told


def test_a_running_task_tells_who_runs_it(client: Client, session: int, worker: Worker) -> None:
    submit(client, session)
    worker.take()
    told = client.call("task", 0)

    assert (told["process"], told["attempt"], told["leased_at"]) == (worker.process, 1, 1.0)


@pytest.mark.parametrize(("number", "what"), [(0, "collected, or forgotten"), (9, "never given out")])
def test_a_task_that_is_not_there_is_named(
    client: Client, session: int, worker: Worker, number: int, what: str
) -> None:
    submit(client, session)
    client.call("close_session", session)
    with pytest.raises(UnknownTask, match=what):
        client.call("task", number)


def test_tasks_are_listed_by_what_they_are(client: Client, session: int, worker: Worker) -> None:
    client.call("submit", session, 1, 0, [[tag, VALUE] for tag in "aab"])
    worker.take(1)

    def listed(**which: Any) -> list[int]:
        return [told["task"] for told in client.call("tasks", which)["tasks"]]

    assert listed() == [0, 1, 2]
    assert listed(states=["waiting"]) == [1, 2]
    assert listed(tag="a", states=["waiting", "running"]) == [0, 1]
    assert listed(session=session, tag="b") == [2]
    assert listed(session=0) == []
    assert listed(tasks=[2, 0, 99]) == [0, 2]


def test_a_long_list_comes_page_by_page(client: Client, session: int) -> None:
    submit(client, session, count=5)
    pages, after = [], None
    while True:
        page = client.call("tasks", {}, 2, after)
        pages.append([told["task"] for told in page["tasks"]])
        after = page["next"]
        if after is None:
            break

    assert pages == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ({"colour": 1}, "no 'colour'"),
        ({"states": ["lost"]}, "lost"),
        ([1], "must be a dict"),
        ({"tasks": ["a_1"]}, "a task must be a number"),
        ({"tag": 1}, "tag must be a str"),
    ],
)
def test_a_senseless_selection_is_refused(client: Client, which: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        client.call("tasks", which)


@pytest.mark.parametrize("name", ["cancel", "retry", "forget"])
def test_nothing_is_done_to_all_tasks_by_mistake(client: Client, session: int, name: str) -> None:
    submit(client, session)
    with pytest.raises(ValueError, match="say which tasks"):
        client.call(name, {})


def test_tasks_of_a_tag_are_cancelled_together(client: Client, session: int) -> None:
    client.call("submit", session, 1, 0, [[tag, VALUE] for tag in "aab"])

    assert client.call("cancel", {"tag": "a"}) == {"tasks": [0, 1], "next": None}
    assert client.call("cancel", {"tag": "a"}) == {"tasks": [], "next": None}


def test_failed_tasks_are_retried_together(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, count=2)
    worker.fail()

    assert client.call("retry", {"states": ["failed"]})["tasks"] == [0, 1]
    assert len(worker.take()) == 2


def test_an_intervention_can_be_a_numbered_call_that_is_done_once(
    client: Client, engine: Engine, session: int, worker: Worker
) -> None:
    submit(client, session)
    worker.fail()
    request = bulk.CALLS["retry"](
        Origin(client.connection, None), {"states": ["failed"]}, 10, None, [session, 2, 1]
    )

    for _ in range(2):
        done = engine.execute(lambda m, now: request.command(m, now, None))
        assert request.present(done.reply) == {"tasks": [0], "next": None}
        worker.fail()


@pytest.mark.parametrize("call", [[1, 2], "nonsense", 5])
def test_a_numbered_call_names_all_three(client: Client, session: int, call: Any) -> None:
    with pytest.raises(TypeError, match="session"):
        bulk.CALLS["retry"](Origin(client.connection, None), {"tag": "a"}, call=call)


def test_what_another_client_awaits_is_not_forgotten(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, count=2)
    worker.succeed()

    assert client.call("forget", {"states": ["succeeded"]})["tasks"] == []
    assert len(collect(client, session)) == 2


def test_a_keyed_task_that_was_delivered_is_forgotten(client: Client, session: int, worker: Worker) -> None:
    submit(client, session, key="k")
    worker.succeed()
    collect(client, session)
    collect(client, session, taken_over=1)

    assert client.call("forget", {"states": ["succeeded"]})["tasks"] == [0]


def test_a_worker_is_told_of_what_it_runs_in_vain(client: Client, session: int, worker: Worker) -> None:
    submit(client, session)
    worker.take()
    client.call("cancel", {"tasks": [0]})

    assert "ended" not in worker.hand_in()
    assert worker.ask()["ended"] == [[0, 1]]
    assert "ended" not in worker.ask()
