"""Looking things up, and refusing what is not there: the checks that go before any change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from pyrotask.core.model import PICKLE, PLAIN, PUBLIC, NewTask, Payload, Process, Session, Task
from pyrotask.errors import (
    KeyConflict,
    PayloadError,
    QueueFull,
    Refused,
    SessionExpired,
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


_MOST_NAMED = 20
"""Processes that an error names."""


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
            active = ", ".join(map(str, islice(self._state.processes, _MOST_NAMED))) or "none"
            active += ", ..." if len(self._state.processes) > _MOST_NAMED else ""
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

    def keyed(self, key: str) -> NewTask:
        """The task of this key, as whoever submits it again would."""
        number = self._state.keys.get(key)
        if number is None:
            raise UnknownTask(
                f"no task has the key {key!r} (any more): it was never submitted, or was forgotten; submit "
                "it with its tag and parameters"
            )
        task = self._state.tasks[number]
        return NewTask(task.tag, task.payload, key=key)

    def session(self, number: SessionId) -> Session | None:
        """The session; None for the public one. Refused when it is not open."""
        return None if number == PUBLIC else self.named_session(number)

    def named_session(self, number: SessionId) -> Session:
        """A session that a client has opened."""
        session = self._state.sessions.get(number)
        if session is not None:
            return session
        if number == PUBLIC:
            raise UnknownSession("the public session is everybody's: open one of your own for this")
        if PUBLIC < number < self._state.next_session:
            raise SessionExpired(
                f"session {number} has ended: it was closed, or without contact for too long. "
                "Nothing was done; open another"
            )
        raise UnknownSession(f"no session {number} was ever opened here: open one")

    def data(self, label: str) -> Payload:
        """The value under a label."""
        value = self._state.data.get(label)
        if value is None:
            raise UnknownLabel(f"no data is stored under {label!r}; call storeData({label}=...) first")
        return value

    def may_submit(self, items: Sequence[NewTask], session: SessionId) -> None:
        """See that all these tasks can be taken on."""
        state, limits = self._state, self._limits
        if state.terminated:
            raise TaskManagerTermination
        self.session(session)
        if state.unstarted + len(items) > limits.max_waiting:
            raise QueueFull(
                f"{state.unstarted} tasks wait, and max_waiting is {limits.max_waiting}: "
                "submit again when some are done, or start the broker with a higher max_waiting"
            )
        for item in items:
            self._may_take_on(item)
        keyed = [item for item in items if item.key is not None]
        if keyed:
            self._may_use_keys(keyed)

    def _may_take_on(self, item: NewTask) -> None:
        if item.payload.format not in (PLAIN, PICKLE):
            raise PayloadError(
                f"a payload of the format {item.payload.format!r} for the tag {item.tag!r}: nobody could "
                f"read it; use {PLAIN!r} or {PICKLE!r}"
            )
        for source in item.inputs:
            if source not in self._state.tasks:
                raise UnknownTask(
                    f"input task {source} is not there (any more): its answer was collected, "
                    "so pass the value itself"
                )

    def _may_use_keys(self, items: Sequence[NewTask]) -> None:
        new: dict[str, tuple[str, Payload]] = {}
        for item in items:
            assert item.key is not None, item
            number = self._state.keys.get(item.key)
            if number is None:
                there = new.setdefault(item.key, (item.tag, item.payload))
            else:
                there = (self._state.tasks[number].tag, self._state.tasks[number].payload)
            if there != (item.tag, item.payload):
                what = "payload" if there[0] == item.tag else f"tag, {there[0]!r}"
                raise KeyConflict(
                    f"the key {item.key!r} belongs to a task with another {what}: use another key, "
                    "or forget that task first"
                )
        if len(self._state.keys) + len(new) > self._limits.max_keyed:
            raise QueueFull(
                f"{len(self._state.keys)} tasks have a key, and max_keyed is {self._limits.max_keyed}: "
                "forget those that you do not need any more"
            )
