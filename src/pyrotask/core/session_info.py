"""Telling about sessions, as values: who has one, when it was last heard of, what it has in hand.

Nothing here changes anything. It takes time in proportion to the sessions and the lines of
answers, not to the tasks.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from pyrotask.core.deadlines import Due, Key
from pyrotask.core.model import Nanoseconds, SessionId

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pyrotask.core.machine import Machine


class SessionInfo(NamedTuple):
    """All about a session, but for its tasks."""

    id: SessionId
    name: str
    opened_at: Nanoseconds
    heard_at: Nanoseconds
    """When there was a call in it; none since the manager's start: that."""
    unfinished: int
    """Tasks whose answers will come."""
    answers: int
    """Answers that wait to be collected."""
    handed_out: int
    """Those that were handed out, and not taken over yet."""
    is_waited_in: bool
    """Somebody is parked for its answers at this moment."""


def to_collect(machine: Machine) -> int:
    """How many answers wait to be collected, by whomever, or were handed out and not taken over yet."""
    in_line = sum(lane.size for lane in machine.state.finished)
    return in_line + sum(len(session.handed_out) for session in machine.state.sessions.values())


def sessions(machine: Machine, *, name: str | None = None, limit: int = 100) -> list[SessionInfo]:
    """The open sessions that were heard of last, at most ``limit``; or those of that name."""
    retention_ns = machine.limits.session_retention_ns
    ends_at = machine.deadlines.at
    heard = (
        (ends_at(Key(Due.SESSION, session.id)) - retention_ns, session.id)
        for session in machine.state.sessions.values()
        if name is None or session.name == name
    )
    last = nlargest(limit, heard)
    answers = Counter[object]()
    for lane in machine.state.finished:
        answers[lane.key.group] += lane.size
    waited_in: set[Hashable] = {group for want in machine.result_wants for group in want.view.groups}
    return [
        _info(machine, number, heard_at, answers[number], number in waited_in) for heard_at, number in last
    ]


def _info(
    machine: Machine,
    number: SessionId,
    heard_at: Nanoseconds,
    answers: int,
    is_waited_in: bool,  # noqa: FBT001 - a field of the reply
) -> SessionInfo:
    session = machine.state.sessions[number]
    return SessionInfo(
        id=number,
        name=session.name,
        opened_at=session.opened_at,
        heard_at=heard_at,
        unfinished=machine.state.unfinished_of(number),
        answers=answers,
        handed_out=len(session.handed_out),
        is_waited_in=is_waited_in,
    )
