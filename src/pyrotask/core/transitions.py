"""The life of a task, as one table. Everything else follows it.

The table says which events may happen to a task in which state, and what may become of it.
``None`` as a state means that there is no such task: not yet, or not any more. A pair that
is missing is illegal: `state.apply` raises `BrokerBroken` for it, and the broker stops.

A second table does the same for the delivery of a finished task's answer.

To change the life of a task, change these tables first, then `state.py`, which fills in what
each step does; the tests walk all pairs.
"""

from __future__ import annotations

from pyrotask.core import events as e
from pyrotask.core.model import Delivery, State

S = State.SCHEDULED
W = State.WAITING
R = State.RUNNING
OK = State.SUCCEEDED
F = State.FAILED
C = State.CANCELLED

TABLE: dict[type[e.TaskEvent], dict[State | None, frozenset[State | None]]] = {}


def _allow(sources: tuple[State | None, ...], event: type[e.TaskEvent], *targets: State | None) -> None:
    TABLE[event] = {source: frozenset(targets or (source,)) for source in sources}


_allow((None,), e.TasksSubmitted, W, S)
_allow((S,), e.TaskDue, W, S)  # S: its inputs are still unfinished
_allow((S,), e.InputsReady, W, S)  # S: it is not due yet
_allow((W,), e.TasksLeased, R)
_allow((R,), e.TaskReleased, W)
_allow((R,), e.TaskCrashed, W, F)
_allow((R,), e.TaskLost, W, F)
_allow((R,), e.TaskRaised, S, F)
_allow((R,), e.TimeLimitReached, S, F)
_allow((S, W, R), e.TasksSucceeded, OK)
_allow((S, W), e.TaskFailed, F)
_allow((S, W, R), e.TaskCancelled, C)
_allow((F, C), e.TaskRetried, W, S)
_allow((None, S, W, R, OK, F, C), e.LateAnswer)
_allow((S, W, R, OK, F, C), e.TaskSubscribed)
_allow((S, W, R, OK, F, C), e.TaskUnsubscribed)
_allow((OK, F, C), e.ResultsDelivered)
_allow((OK, F, C), e.DeliveryUndone)
_allow((OK, F, C), e.DeliveryAcknowledged)
_allow((OK, F, C), e.TasksForgotten, None)

DELIVERIES: dict[type[e.TaskEvent], frozenset[Delivery]] = {
    e.TaskRetried: frozenset({Delivery.NONE, Delivery.ACKNOWLEDGED}),
    e.TaskUnsubscribed: frozenset({Delivery.NONE, Delivery.HANDED_OUT}),
    e.ResultsDelivered: frozenset({Delivery.NONE}),
    e.DeliveryUndone: frozenset({Delivery.HANDED_OUT}),
    e.DeliveryAcknowledged: frozenset({Delivery.NONE, Delivery.HANDED_OUT}),
    e.TasksForgotten: frozenset({Delivery.HANDED_OUT, Delivery.ACKNOWLEDGED}),
}
"""How far the answer must have come for these to happen; for all others it does not matter."""
