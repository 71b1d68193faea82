"""The life of a task, pair by pair: what the table allows happens, all else is refused whole."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from pyrotask.core import events as e
from pyrotask.core.model import (
    DEFAULT_OPTIONS,
    PUBLIC,
    Cause,
    Delivery,
    Kind,
    ProcessId,
    SessionId,
    State,
    TaskNumber,
)
from pyrotask.core.state import DurableState
from pyrotask.core.transitions import DELIVERIES, TABLE
from pyrotask.errors import BrokerBroken
from tests.core.world import ERROR, VALUE

TASK = TaskNumber(0)
KINDS: tuple[type[e.TaskEvent], ...] = get_args(e.TaskEvent)
STATES: tuple[State | None, ...] = (None, *State)

SUBMITTED = e.TasksSubmitted(1, TASK, "a", (VALUE,), DEFAULT_OPTIONS, PUBLIC, key="its key")
LEASED = e.TasksLeased(2, (TASK,), ProcessId(0), (1,))
HISTORY: dict[State | None, list[e.TaskEvent]] = {
    None: [],
    State.SCHEDULED: [SUBMITTED._replace(due_at=9)],
    State.WAITING: [SUBMITTED],
    State.RUNNING: [SUBMITTED, LEASED],
    State.SUCCEEDED: [SUBMITTED, LEASED, e.TasksSucceeded(3, (TASK,), (VALUE,))],
    State.FAILED: [SUBMITTED, LEASED, e.TaskRaised(3, TASK, ERROR, None)],
    State.CANCELLED: [SUBMITTED, LEASED, e.TaskCancelled(3, TASK, "unwanted")],
}
"""How a task comes into each state."""

EVENTS: dict[type[e.TaskEvent], list[tuple[e.TaskEvent, State | None]]] = {
    e.TasksSubmitted: [(SUBMITTED, State.WAITING), (SUBMITTED._replace(due_at=9), State.SCHEDULED)],
    e.TaskDue: [(e.TaskDue(TASK), State.WAITING)],
    e.InputsReady: [(e.InputsReady(TASK), State.SCHEDULED)],
    e.TasksLeased: [(LEASED, State.RUNNING)],
    e.TaskReleased: [(e.TaskReleased(TASK, Cause.RETURNED), State.WAITING)],
    e.TaskCrashed: [
        (e.TaskCrashed(5, TASK, "signal 9", final=False), State.WAITING),
        (e.TaskCrashed(5, TASK, "signal 9", final=True), State.FAILED),
    ],
    e.TaskLost: [
        (e.TaskLost(5, TASK, "silent", final=False), State.WAITING),
        (e.TaskLost(5, TASK, "silent", final=True), State.FAILED),
    ],
    e.TaskRaised: [
        (e.TaskRaised(5, TASK, ERROR, 9), State.SCHEDULED),
        (e.TaskRaised(5, TASK, ERROR, None), State.FAILED),
    ],
    e.TimeLimitReached: [
        (e.TimeLimitReached(5, TASK, 9), State.SCHEDULED),
        (e.TimeLimitReached(5, TASK, None), State.FAILED),
    ],
    e.TasksSucceeded: [(e.TasksSucceeded(5, (TASK,), (VALUE,)), State.SUCCEEDED)],
    e.TaskFailed: [(e.TaskFailed(5, TASK, "no input"), State.FAILED)],
    e.TaskCancelled: [(e.TaskCancelled(5, TASK, "unwanted"), State.CANCELLED)],
    e.TaskRetried: [
        (e.TaskRetried(5, TASK), State.WAITING),
        (e.TaskRetried(5, TASK, 9), State.SCHEDULED),
    ],
    e.LateAnswer: [(e.LateAnswer(TASK), None)],
    e.TaskSubscribed: [(e.TaskSubscribed(TASK, SessionId(1)), None)],
    e.TaskUnsubscribed: [(e.TaskUnsubscribed(TASK, PUBLIC), None)],
    e.ResultsDelivered: [(e.ResultsDelivered((TASK,)), None)],
    e.DeliveryUndone: [(e.DeliveryUndone(TASK), None)],
    e.DeliveryAcknowledged: [(e.DeliveryAcknowledged(TASK), None)],
    e.TasksForgotten: [(e.TasksForgotten((TASK,)), None)],
}
"""An example of each event for each thing that it can say, and where it leads (None: see below)."""

NEEDS_HANDING_OUT = (e.DeliveryUndone, e.TasksForgotten)


def state_with(source: State | None, *more: e.Event) -> DurableState:
    durable = DurableState()
    durable.apply(e.ProcessRegistered(0, ProcessId(0), Kind.PLAIN, None, ""))
    for event in (*HISTORY[source], *more):
        durable.apply(event)
    return durable


def now(durable: DurableState) -> State | None:
    return durable.tasks[TASK].state if TASK in durable.tasks else None


ALLOWED = [
    (source, event, target)
    for source, kind in product(STATES, KINDS)
    if source in TABLE[kind]
    for event, target in EVENTS[kind]
]
FORBIDDEN = [(source, kind) for source, kind in product(STATES, KINDS) if source not in TABLE[kind]]


@pytest.mark.parametrize(("source", "event", "target"), ALLOWED)
def test_what_the_table_allows_happens_and_leads_where_it_says(
    source: State | None, event: e.TaskEvent, target: State | None
) -> None:
    handed_out = isinstance(event, NEEDS_HANDING_OUT)
    durable = state_with(source, *[e.ResultsDelivered((TASK,))] * handed_out)

    durable.apply(event)

    if target is None and not isinstance(event, e.TasksForgotten):
        target = source  # a delivery, or a late answer, changes nothing in the life of the task
    assert now(durable) is target
    assert target in TABLE[type(event)][source]


@pytest.mark.parametrize(("source", "kind"), FORBIDDEN)
def test_what_the_table_does_not_have_breaks_the_broker_and_changes_nothing(
    source: State | None, kind: type[e.TaskEvent]
) -> None:
    durable = state_with(source)
    before = durable.image()

    for event, _ in EVENTS[kind]:
        with pytest.raises(BrokerBroken, match="cannot happen to a task"):
            durable.apply(event)

    assert durable.image() == before


def test_there_is_an_example_of_every_event() -> None:
    assert set(EVENTS) == set(KINDS) == set(TABLE)


def test_every_target_of_the_table_is_reached_by_an_example() -> None:
    reached = {(type(event), target) for _, event, target in ALLOWED if target is not None}
    targets = {(kind, t) for kind, row in TABLE.items() for ts in row.values() for t in ts if t is not None}
    unmoved = {pair for pair in targets if EVENTS[pair[0]][0][1] is None}

    # These stay scheduled when the other thing that they wait for has not come: see test_inputs.
    assert targets - unmoved - reached == {(e.TaskDue, State.SCHEDULED), (e.InputsReady, State.WAITING)}


DELIVERED: dict[Delivery, list[e.Event]] = {
    Delivery.NONE: [],
    Delivery.HANDED_OUT: [e.ResultsDelivered((TASK,))],
    Delivery.ACKNOWLEDGED: [e.ResultsDelivered((TASK,)), e.DeliveryAcknowledged(TASK)],
}


@pytest.mark.parametrize(("kind", "delivery"), list(product(DELIVERIES, Delivery)))
def test_an_answer_is_delivered_step_by_step(kind: type[e.TaskEvent], delivery: Delivery) -> None:
    durable = state_with(State.FAILED, *DELIVERED[delivery])
    before = durable.image()
    event, _ = EVENTS[kind][0]

    if delivery in DELIVERIES[kind]:
        durable.apply(event)
        assert durable.image() != before
    else:
        with pytest.raises(BrokerBroken, match=f"an answer that is {delivery.value}"):
            durable.apply(event)
        assert durable.image() == before


def test_an_event_that_led_elsewhere_than_the_table_says_breaks_the_broker() -> None:
    durable = state_with(State.RUNNING)
    _, *others = durable._changes[e.TaskReleased]
    durable._changes[e.TaskReleased] = (lambda _: None, *others)  # type: ignore[assignment]

    with pytest.raises(BrokerBroken, match="made a task running that was running"):
        durable.apply(e.TaskReleased(TASK, Cause.RETURNED))


def two_waiting() -> DurableState:
    durable = state_with(None)
    durable.apply(SUBMITTED._replace(payloads=(VALUE, VALUE), key=None))
    return durable


BOTH = (TASK, TaskNumber(1))


def test_what_may_not_happen_to_one_of_many_happens_to_none() -> None:
    durable = two_waiting()
    durable.apply(LEASED)
    before = durable.image()

    with pytest.raises(BrokerBroken, match="cannot happen to tasks that are running"):
        durable.apply(e.TasksLeased(3, BOTH, ProcessId(0), (1, 1)))

    assert durable.image() == before


def test_an_event_that_led_many_elsewhere_breaks_the_broker() -> None:
    durable = two_waiting()
    _, *others = durable._changes[e.TasksLeased]
    durable._changes[e.TasksLeased] = (lambda _: None, *others)  # type: ignore[assignment]

    with pytest.raises(BrokerBroken, match="made tasks waiting that were waiting"):
        durable.apply(e.TasksLeased(3, BOTH, ProcessId(0), (1, 1)))


def test_answers_are_forgotten_together_only_when_all_were_handed_out() -> None:
    durable = two_waiting()
    durable.apply(e.TasksLeased(3, BOTH, ProcessId(0), (1, 1)))
    durable.apply(e.TasksSucceeded(4, BOTH, (VALUE, VALUE)))
    durable.apply(e.ResultsDelivered((TASK,)))
    before = durable.image()

    with pytest.raises(BrokerBroken, match="an answer that is none"):
        durable.apply(e.TasksForgotten(BOTH))

    assert durable.image() == before


def test_a_process_that_has_tasks_cannot_leave() -> None:
    durable = state_with(State.RUNNING)
    before = durable.image()

    with pytest.raises(BrokerBroken, match="cannot leave with its tasks"):
        durable.apply(e.ProcessUnregistered(ProcessId(0)))

    assert durable.image() == before
