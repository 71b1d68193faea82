"""Looking things up, and refusing what is not there: the checks that go before any change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyrotask.core.model import PICKLE, PLAIN, PUBLIC, Payload, Process, Task
from pyrotask.errors import (
    PayloadError,
    QueueFull,
    Refused,
    TaskManagerTermination,
    UnknownLabel,
    UnknownProcess,
    UnknownSession,
    UnknownTask,
)

if TYPE_CHECKING:
    from pyrotask.core.model import ConnectionId, Limits, NodeId, ProcessId, SessionId, TaskNumber
    from pyrotask.core.presence import Connection, Presence
    from pyrotask.core.state import DurableState


class Lookup:
    """Finds what a call names, or raises the error that says what to do. Changes nothing."""

    def __init__(self, state: DurableState, presence: Presence, limits: Limits) -> None:
        self._state = state
        self._presence = presence
        self._limits = limits

    def process(self, number: ProcessId) -> Process:
        """A registered process."""
        process = self._state.processes.get(number)
        if process is None:
            active = ", ".join(map(str, self._state.processes)) or "none"
            raise UnknownProcess(
                f"process {number} is not registered (any more); active: {active}. "
                "Call registerProcess first, and again after a loss"
            )
        return process

    def node(self, number: NodeId) -> None:
        """See that the supervisor is registered."""
        if number not in self._state.nodes:
            raise UnknownProcess(f"supervisor {number} is not registered (any more): register again")

    def way(self, number: ConnectionId | None) -> Connection | None:
        """The connection that a call came in over; None: from our own process."""
        if number is None:
            return None
        connection = self._presence.connections.get(number)
        if connection is None:
            raise Refused(f"connection {number} is closed: nothing can be handed out over it; open another")
        return connection

    def task(self, number: TaskNumber) -> Task | None:
        """The task, or None when it is gone; refused when the number was never given out."""
        if not 0 <= number < self._state.next_task:
            raise UnknownTask(f"no task has the number {number}; the next new one is {self._state.next_task}")
        return self._state.tasks.get(number)

    def session(self, number: SessionId) -> None:
        """See that the session is open."""
        if number != PUBLIC and number not in self._state.sessions:
            raise UnknownSession(f"no session {number} is open (any more): open another")

    def data(self, label: str) -> Payload:
        """The value under a label."""
        value = self._state.data.get(label)
        if value is None:
            raise UnknownLabel(f"no data is stored under {label!r}; call storeData({label}=...) first")
        return value

    def may_submit(
        self, tag: str, payload: Payload, session: SessionId, inputs: Sequence[TaskNumber]
    ) -> None:
        """See that a new task can be taken on."""
        if self._state.terminated:
            raise TaskManagerTermination
        self.session(session)
        if payload.format not in (PLAIN, PICKLE):
            raise PayloadError(
                f"a payload of the format {payload.format!r} for the tag {tag!r}: nobody could read it; "
                f"use {PLAIN!r} or {PICKLE!r}"
            )
        if self._state.unstarted >= self._limits.max_waiting:
            raise QueueFull(
                f"{self._state.unstarted} tasks wait, and max_waiting is {self._limits.max_waiting}: "
                "submit again when some are done, or start the broker with a higher max_waiting"
            )
        for source in inputs:
            if source not in self._state.tasks:
                raise UnknownTask(
                    f"input task {source} is not there (any more): its answer was collected, "
                    "so pass the value itself"
                )
