"""What a command leaves behind: events, answers for those who were parked, lanes to look at.

`Recorder.record` is the only way to a durable change. The event is applied at once, so that
the rest of the command sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyrotask.core.events import Event
from pyrotask.core.lanes import Lane
from pyrotask.core.model import (
    NEW,
    Answer,
    Delivered,
    Lease,
    NodeId,
    Place,
    ProcessId,
    Session,
    SessionId,
    Task,
    TaskNumber,
    WantId,
)
from pyrotask.core.state import DurableState

TASK_BLOCK = 10_000
PROCESS_BLOCK = 1_000
NODE_BLOCK = 1_000
SESSION_BLOCK = 1_000
ATTEMPT_BLOCK = 100
DELIVERY_BLOCK = 10_000
"""Numbers reserved at a time: each block costs one wait for the disk, each restart what is left of it."""


class Parked(NamedTuple):
    """The reply to a request that has to wait: its caller is told later."""

    want: WantId


Reply = tuple[Lease, ...] | Answer | list[Delivered] | Exception
Wake = tuple[object, Reply]
"""A caller that was parked, and what it waited for."""


class Step(NamedTuple):
    """What a command did."""

    reply: object
    events: Sequence[Event]
    wakes: Sequence[Wake]


class Steps:
    """Several steps that count as one. Each is added before the next command begins."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._wakes: list[Wake] = []

    def add(self, step: Step) -> None:
        """One more. Its events are copied: a list without any may be the recorder's own."""
        self.events += step.events
        self._wakes += step.wakes

    def ended_by(self, last: Step) -> Step:
        """All of them, with the reply of the last."""
        self.add(last)
        return Step(last.reply, self.events, self._wakes)


class Recorder:
    """The durable state, and what the command at hand has done so far."""

    def __init__(self, state: DurableState) -> None:
        self.state = state
        self._apply = state.apply
        self.events: list[Event] = []
        self.wakes: list[Wake] = []
        self.touched: dict[Lane, None] = {}
        """Lanes to look at. A dict, for its order."""

    def record(self, event: Event) -> None:
        """Let it happen, and remember it for the journal."""
        self._apply(event)
        self.events.append(event)

    def new_tasks(self, count: int) -> TaskNumber:
        """The first of ``count`` numbers that no task of this lineage ever had, or will have."""
        number = self.state.next_task
        if number + count > self.state.reserved_tasks:
            self._reserve(tasks=number + count - 1 + TASK_BLOCK)
        return TaskNumber(number)

    def new_process(self) -> ProcessId:
        """The same for a process."""
        number = self.state.next_process
        if number >= self.state.reserved_processes:
            self._reserve(processes=number + PROCESS_BLOCK)
        return ProcessId(number)

    def new_node(self) -> NodeId:
        """The same for a supervisor."""
        number = self.state.next_node
        if number >= self.state.reserved_nodes:
            self._reserve(nodes=number + NODE_BLOCK)
        return NodeId(number)

    def new_session(self) -> SessionId:
        """The same for a session."""
        number = self.state.next_session
        if number >= self.state.reserved_sessions:
            self._reserve(sessions=number + SESSION_BLOCK)
        return SessionId(number)

    def new_attempts(self, tasks: Iterable[Task]) -> tuple[int, ...]:
        """For each task a number that no attempt at it ever had: above all of earlier runs."""
        first_task, first = self.state.first_task, self.state.first_attempt
        numbers = tuple(
            [
                task.attempt + 1 if task.number >= first_task else max(task.attempt + 1, first)
                for task in tasks
            ]
        )
        newest = max(numbers)
        if newest >= self.state.reserved_attempts:
            self._reserve(attempts=newest + ATTEMPT_BLOCK)
        return numbers

    def expect_deliveries(self, session: Session, count: int) -> None:
        """See that the next ``count`` deliveries in the session can have their numbers."""
        last = session.next_delivery + count - 1
        if last >= self.state.reserved_deliveries:
            self._reserve(deliveries=last + DELIVERY_BLOCK)

    def _reserve(self, **up_to: int) -> None:
        self.record(self.state.reserved()._replace(**up_to))

    def touch(self, place: Place) -> None:
        """Something came into a line: it may be what somebody is parked for."""
        if place.lane is not None:
            self.touched[place.lane] = None

    def step(self, reply: object) -> Step:
        """End the command."""
        step = NEW(Step, (reply, self.events, self.wakes))
        if self.events:
            self.events = []
        if self.wakes:
            self.wakes = []
        return step
