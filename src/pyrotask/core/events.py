"""Everything that can happen, as values. The durable state is the fold of these.

An event is a fact in the past: it is never refused, and says all that `state.apply` needs,
so that a replay comes to the same state as the run that it replays. Adding a field is a new
version of the event for the journal; a default keeps old records readable.

What happens to each task in its ordinary life is said of many at once, as it happens in batches:
those events are named in the plural. ``tasks`` has their numbers, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pyrotask.core.model import (
    Cause,
    Failure,
    Kind,
    Nanoseconds,
    NodeId,
    Options,
    Payload,
    ProcessId,
    SessionId,
    TaskNumber,
)


class BrokerStarted(NamedTuple):
    """A run begins. ``lineage`` names the history that all numbers belong to."""

    at: Nanoseconds
    lineage: str


class NumbersReserved(NamedTuple):
    """Numbers below these may have been given out. On disk before any of them is.

    A later run begins with these, so that no number is given out twice, even if the events in
    which it was used were lost with the power. Attempts are numbered in each task, and deliveries
    in each session: theirs are above those of all tasks, and of all sessions.
    """

    tasks: int
    processes: int
    nodes: int = 0
    sessions: int = 0
    attempts: int = 0
    deliveries: int = 0


class Terminated(NamedTuple):
    """No more tasks are taken on; nobody waits any more."""

    at: Nanoseconds


# --- tasks ------------------------------------------------------------------------------


class TasksSubmitted(NamedTuple):
    """Tasks were taken on. With a later ``due_at`` or unfinished inputs they are SCHEDULED.

    They have the numbers from ``first`` on, and differ in their payloads only. With a key there
    is one.
    """

    at: Nanoseconds
    first: TaskNumber
    tag: str
    payloads: tuple[Payload, ...]
    options: Options
    session: SessionId
    due_at: Nanoseconds | None = None
    inputs: tuple[TaskNumber, ...] = ()
    key: str | None = None

    @property
    def tasks(self) -> Sequence[TaskNumber]:
        """Their numbers."""
        return range(self.first, self.first + len(self.payloads))  # type: ignore[return-value]


class TaskDue(NamedTuple):
    """The instant came that the task waited for."""

    task: TaskNumber


class InputsReady(NamedTuple):
    """All inputs of the task have succeeded."""

    task: TaskNumber


class TasksLeased(NamedTuple):
    """A process (None: somebody on a connection) may run these tasks, each as that attempt."""

    at: Nanoseconds
    tasks: tuple[TaskNumber, ...]
    process: ProcessId | None
    attempts: tuple[int, ...]


class TaskReleased(NamedTuple):
    """The lease ended, nobody is to blame: the task is first in line again."""

    task: TaskNumber
    cause: Cause


class TaskCrashed(NamedTuple):
    """The worker died running it. ``final``: that was once too often."""

    at: Nanoseconds
    task: TaskNumber
    detail: str
    final: bool


class TaskLost(NamedTuple):
    """The worker is gone or silent. ``final``: that was once too often."""

    at: Nanoseconds
    task: TaskNumber
    detail: str
    final: bool


class TaskRaised(NamedTuple):
    """The task's code raised. It runs again at ``retry_at``, or (None) has failed."""

    at: Nanoseconds
    task: TaskNumber
    failure: Failure
    retry_at: Nanoseconds | None


class TimeLimitReached(NamedTuple):
    """The task ran longer than it may. It runs again at ``retry_at``, or (None) has failed."""

    at: Nanoseconds
    task: TaskNumber
    retry_at: Nanoseconds | None


class TasksSucceeded(NamedTuple):
    """The first valid answers."""

    at: Nanoseconds
    tasks: tuple[TaskNumber, ...]
    values: tuple[Payload, ...]


class TaskFailed(NamedTuple):
    """The task can never run: an input of it ended without a value."""

    at: Nanoseconds
    task: TaskNumber
    detail: str


class TaskCancelled(NamedTuple):
    """Somebody does not want the answer any more."""

    at: Nanoseconds
    task: TaskNumber
    detail: str


class TaskRetried(NamedTuple):
    """A task that had ended without a value starts anew, its counters at zero."""

    at: Nanoseconds
    task: TaskNumber
    due_at: Nanoseconds | None = None


class LateAnswer(NamedTuple):
    """An answer came for a task that has one, or that is gone. It was dropped."""

    task: TaskNumber


class TaskSubscribed(NamedTuple):
    """A session wants the answer of the task, which has a key, (once more)."""

    task: TaskNumber
    session: SessionId


class TaskUnsubscribed(NamedTuple):
    """The session does not want the answer of the task any more. Others may."""

    task: TaskNumber
    session: SessionId


class ResultsDelivered(NamedTuple):
    """The answers were handed out, in that session; None: each in the task's own."""

    tasks: tuple[TaskNumber, ...]
    session: SessionId | None = None


class DeliveryUndone(NamedTuple):
    """The answer did not arrive: it is first in line again."""

    task: TaskNumber
    session: SessionId | None = None


class DeliveryAcknowledged(NamedTuple):
    """The receiver has taken the answer over."""

    task: TaskNumber
    session: SessionId | None = None


class TasksForgotten(NamedTuple):
    """Nobody needs these tasks any more."""

    tasks: tuple[TaskNumber, ...]


# --- processes, nodes, sessions, data -----------------------------------------------------


class ProcessRegistered(NamedTuple):
    """A process takes part from now on."""

    at: Nanoseconds
    process: ProcessId
    kind: Kind
    period_ns: Nanoseconds | None
    info: str
    node: NodeId | None = None
    tags: frozenset[str] | None = None


class ProcessUnregistered(NamedTuple):
    """It left by its own will; its tasks were released before."""

    process: ProcessId


class ProcessLost(NamedTuple):
    """It fell silent or died; its tasks were released before."""

    at: Nanoseconds
    process: ProcessId
    detail: str


class NodeRegistered(NamedTuple):
    """A supervisor speaks for the processes of its node from now on."""

    at: Nanoseconds
    node: NodeId
    period_ns: Nanoseconds
    info: str


class NodeUnregistered(NamedTuple):
    """The supervisor left, or was lost."""

    node: NodeId


class SessionOpened(NamedTuple):
    """A named session: what is submitted in it is delivered in it only."""

    at: Nanoseconds
    session: SessionId
    name: str


class SessionEnded(NamedTuple):
    """The session is over; its tasks were cancelled and forgotten before."""

    session: SessionId


class CallAnswered(NamedTuple):
    """A call in a session was done, with this reply, which the client may ask for again.

    It has all replies up to ``low_water``.
    """

    session: SessionId
    sequence: int
    low_water: int
    reply: tuple[int, ...]


class DataStored(NamedTuple):
    """These labels have these values now, all at once."""

    items: tuple[tuple[str, Payload], ...]


class DataDeleted(NamedTuple):
    """The label has no value any more."""

    label: str


BatchEvent = TasksSubmitted | TasksLeased | TasksSucceeded | ResultsDelivered | TasksForgotten
TaskEvent = (
    BatchEvent
    | TaskDue
    | InputsReady
    | TaskReleased
    | TaskCrashed
    | TaskLost
    | TaskRaised
    | TimeLimitReached
    | TaskFailed
    | TaskCancelled
    | TaskRetried
    | LateAnswer
    | TaskSubscribed
    | TaskUnsubscribed
    | DeliveryUndone
    | DeliveryAcknowledged
)
OtherEvent = (
    BrokerStarted
    | NumbersReserved
    | Terminated
    | ProcessRegistered
    | ProcessUnregistered
    | ProcessLost
    | NodeRegistered
    | NodeUnregistered
    | SessionOpened
    | SessionEnded
    | CallAnswered
    | DataStored
    | DataDeleted
)
Event = TaskEvent | OtherEvent
