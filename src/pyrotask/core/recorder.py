"""What a command leaves behind: events, answers for those who were parked, lanes to look at.

`Recorder.record` is the only way to a durable change. The event is applied at once, so that
the rest of the command sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pyrotask.core.events import Event
from pyrotask.core.lanes import Lane
from pyrotask.core.model import Answer, Lease, Task, WantId
from pyrotask.core.state import DurableState


class Parked(NamedTuple):
    """The reply to a request that has to wait: its caller is told later."""

    want: WantId


Wake = tuple[object, "tuple[Lease, ...] | Answer | Exception"]
"""A caller that was parked, and what it waited for."""


class Step(NamedTuple):
    """What a command did."""

    reply: object
    events: Sequence[Event]
    wakes: Sequence[Wake]


class Recorder:
    """The durable state, and what the command at hand has done so far."""

    def __init__(self, state: DurableState) -> None:
        self.state = state
        self.events: list[Event] = []
        self.wakes: list[Wake] = []
        self.touched: list[Lane] = []

    def record(self, event: Event) -> None:
        """Let it happen, and remember it for the journal."""
        self.state.apply(event)
        self.events.append(event)

    def touch(self, task: Task) -> None:
        """The task came into a line: it may be what somebody is parked for."""
        if task.lane is not None:
            self.touched.append(task.lane)

    def step(self, reply: object) -> Step:
        """End the command."""
        step = Step(reply, self.events, self.wakes)
        if self.events:
            self.events = []
        if self.wakes:
            self.wakes = []
        return step
